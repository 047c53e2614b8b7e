"""Flags of a fine-tune: one for each setting, and what they mean."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import pytest
from cli_runner import beft, unchecked
from example_snapshots import example

from beft_core.cli.flags import FLAGS, config_of, takes
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.snapshots.snapshot import Snapshot


def test_every_setting_has_a_flag() -> None:
    fields = {field.name for field in dataclasses.fields(RunConfig)}
    # The duration would make equal runs write different bytes; what a table holds is noted by whoever sets a run up, a
    # command reads the file as it is.
    assert fields - set(FLAGS) == {"record_wall_seconds", "table_sha256"}
    help_ = beft("train", "--help").out
    for flag in FLAGS.values():
        assert (flag.name or f"--{flag.field.replace('_', '-')}") in help_


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (["--terms", "v", "q"], {"terms": ("v", "q")}),
        (["--terms", "v,q"], {"terms": ("v", "q")}),
        (["--terms", "v+q"], {"terms": ("v", "q")}),
        (
            ["--train-file", "a.csv", "--label", "y", "--prompt", "{q}\\nA:", "--candidates", "0=terrible", "1=so so"],
            {"train_file": "a.csv", "label": "y", "prompt": "{q}\nA:", "candidates": ("0=terrible", "1=so so")}
            | {"max_length": 2048},
        ),
        (
            [
                "--train-file",
                "a.json",
                "--label",
                "y",
                "--prompt",
                "{q}",
                "--candidates-column",
                "c",
                "--demonstrations=4",
            ],
            {"train_file": "a.json", "label": "y", "prompt": "{q}", "candidates_column": "c", "demonstrations": 4}
            | {"max_length": 2048},
        ),
        (["--terms", "v", "--terms", "q"], {"terms": ("v", "q")}),
        (["--terms", "all"], {"mode": "all", "terms": ()}),
        (["--terms", "head"], {"mode": "head", "terms": ()}),
        (["--terms", "full"], {"mode": "full", "terms": ()}),
        (["--terms", "random"], {"mode": "random", "terms": ()}),
        (["--method", "lora"], {"mode": "lora", "terms": ()}),
        (["--method", "terms", "--terms", "q"], {"terms": ("q",)}),
        (
            ["--method", "dora", "--rank", "4", "--alpha", "8", "--targets", "q", "k", "--layers", "0"],
            {"mode": "dora", "terms": (), "rank": 4, "alpha": 8.0, "targets": ("q", "k"), "layers": (0,)},
        ),
        (["--method", "prefix", "--virtual-tokens", "7"], {"mode": "prefix", "terms": (), "virtual_tokens": 7}),
        (["--layers", "3-5"], {"layers": (3, 4, 5)}),
        (["--layers", "0,2,5"], {"layers": (0, 2, 5)}),
        (["--add-bias", "q", "k"], {"add_bias": ("q", "k")}),
        (["--no-dropout", "--train-null", "--fisher"], {"dropout": False, "train_null": True, "fisher": True}),
        (
            ["--task", "sst2", "--regime", "low", "--preset", "paper"],
            {"task": "sst2", "regime": "low", "preset": "paper"},
        ),
        (
            ["--n-train", "64", "--epochs", "2", "--lr", "4e-4", "--schedule", "constant", "--batch-size", "8"],
            {"n_train": 64, "epochs": 2, "lr": 4e-4, "schedule": "constant", "batch_size": 8},
        ),
        (
            ["--seed", "3", "--max-length", "64", "--weight-decay", "0", "--clip", "0"],
            {"seed": 3, "max_length": 64, "weight_decay": 0.0, "clip": 0.0},
        ),
        (
            ["--device", "cpu", "--precision", "bfloat16", "--pad", "max", "--evaluate-when", "never"],
            {"device": "cpu", "precision": "bfloat16", "pad": "max", "evaluate": "never"},
        ),
        (
            ["--trajectory-every", "5", "--fisher-examples", "9", "--data-dir", "x", "--model", "./m"],
            {"trajectory_every": 5, "fisher_examples": 9, "data_dir": "x", "model": "./m"},
        ),
        (
            ["--train-file", "a.csv", "--eval-file", "b.csv", "--text", "s", "--text-pair", "t", "--label", "l"],
            {"train_file": "a.csv", "eval_file": "b.csv", "text": "s", "text_pair": "t", "label": "l"},
        ),
    ],
)
def test_flags_become_the_configuration(
    words: list[str], fields: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[RunConfig] = []

    def fake(config: RunConfig, *_: object, **_rest: object) -> Snapshot:
        seen.append(config)
        return example()

    monkeypatch.setattr("beft_core.training.workflow.train", fake)
    unchecked(monkeypatch)
    result = beft("train", *words, "--out", "v.beft.safetensors", "--json")
    assert result.status == 0, result.err
    assert seen == [dataclasses.replace(RunConfig(), **fields)]


def test_what_was_not_given_says_nothing() -> None:
    flag = FLAGS["lr"]
    assert flag.fields(None) == {}
    assert flag.fields(0.0) == {"lr": 0.0}  # a value, though it is false
    assert FLAGS["dropout"].fields(False) == {}
    assert FLAGS["dropout"].fields(True) == {"dropout": False}
    assert FLAGS["terms"].fields([]) == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "lora", "--terms", "q"], "got --terms q with --method lora; expected one of them"),
        (["--method", "lora", "--terms", "all"], "got --terms all with --method lora; expected one of them"),
        (["--method", "lorra"], "got --method lorra"),
        (["--method", "lora", "--rank", "0"], "got --rank 0; expected 1 to 4096; try --rank 8, as for RoBERTa"),
        (["--rank", "4"], "got --rank with --method terms, which has none; expected one of lora, dora, vera"),
        (["--method", "ia3", "--rank", "4"], "got --rank with --method ia3"),
        (["--method", "lora", "--targets", "ln1"], "got --targets ln1 with --method lora"),
        (["--method", "lora", "--targets", "x"], "got --targets x with --method lora"),
        (["--method", "prefix", "--targets", "q"], "which wraps no modules"),
        (["--terms", "v", "--targets", "q"], "which wraps no modules"),
        (["--method", "prefix", "--layers", "1"], "whose vectors stand before the text in all of them"),
        (["--method", "lora", "--fisher-tuned"], "got --fisher-tuned"),
    ],
)
def test_methods_and_their_settings_fit_together(words: list[str], said: str, folder: Path) -> None:
    result = beft("train", *words, "--out", "v.beft.safetensors")
    assert result.status == 2 and said in result.err and len(result.err.strip().splitlines()) == 1


def test_a_table_and_its_columns_come_together() -> None:
    for given, said in (
        ({"task": "sst2", "train_file": "a.csv"}, "both --task and --train-file"),
        ({"data_dir": "glue", "train_file": "a.csv"}, "both --data-dir and --train-file"),
        ({"text_pair": "b"}, "--text-pair without --train-file"),
        ({"label": "l"}, "--label without --train-file"),
    ):
        with pytest.raises(UserError, match=said):
            config_of(given)
    assert config_of({"train_file": "a.csv", "text": "t", "label": "l"}).train_file == "a.csv"


def test_a_command_gets_what_the_user_set_and_nothing_else() -> None:
    got: list[Any] = []

    @takes(["seed", "dropout"])
    def command(given: dict[str, Any], own: int = 3) -> None:
        got.append((given, own))

    names = list(inspect.signature(command).parameters)
    assert names == ["flag_seed", "flag_dropout", "own"]
    command(flag_seed=0, flag_dropout=False, own=4)
    assert got == [({"seed": 0}, 4)]
