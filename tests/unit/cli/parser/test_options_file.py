"""Options of a command from a YAML file and back, and what no file may say."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
import yaml
from cli_runner import assert_refused, beft, stored, unchecked
from example_snapshots import example

from beft_core.cli import app
from beft_core.cli.parser.options_file import defaults
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.snapshots.snapshot import Snapshot


@pytest.fixture
def trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """The configurations that fine-tunes begin with; none is done."""
    seen: list[RunConfig] = []

    def fake(config: RunConfig, *_: object, **_rest: object) -> Snapshot:
        seen.append(config)
        return example()

    monkeypatch.setattr("beft_core.training.workflow.train", fake)
    unchecked(monkeypatch)
    return seen


def written(text: str) -> str:
    Path("o.yaml").write_text(text)
    return "o.yaml"


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("task: sst2\nterms: [q, v]\nlr: 1e-3\n", {"task": "sst2", "terms": ("q", "v"), "lr": 1e-3}),
        ("terms: q+v\nlayers: 1-2\nepochs: 3\n", {"terms": ("q", "v"), "layers": (1, 2), "epochs": 3}),
        ("layers: [0, 2]\ndropout: false\nfisher: true\n", {"layers": (0, 2), "dropout": False, "fisher": True}),
        ("terms: all\nevaluate_when: last\n", {"mode": "all", "terms": (), "evaluate": "last"}),
        ("learning_rate: 0.5\nbatch-size: 8\nseed: 0\n", {"lr": 0.5, "batch_size": 8}),
        ("dropout: true\nepochs: null\n", {}),
        ("train_file: a.csv\ntext: 1\nlabel: l\n", {"train_file": "a.csv", "text": "1", "label": "l"}),
    ],
)
def test_a_file_says_what_flags_say(text: str, fields: dict[str, Any], trained: list[RunConfig]) -> None:
    done = beft("train", "--config", written(text), "--out", "v.beft.safetensors", "--json")
    assert done.status == 0, done.err
    assert trained == [dataclasses.replace(RunConfig(), **fields)]


def test_flags_win_over_the_file(trained: list[RunConfig]) -> None:
    file = written("lr: 0.5\nterms: [q]\nepochs: 9\nout: from-file.beft.safetensors\n")
    assert beft("train", "--epochs", "2", "--config", file, "--terms", "v", "o", "--json").status == 0
    (config,) = trained
    assert (config.lr, config.terms, config.epochs) == (0.5, ("v", "o"), 2)
    assert Path("from-file.beft.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch: 3", "try epochs"),
        ("learning_rat: 3", "try lr"),
        ("zzz: 3", "got the unknown option 'zzz'; expected some of task"),
        ("help: true", "unknown option"),
        ("options_file: o.yaml", "unknown option"),
        ("epochs: many", "--epochs"),
        ("epochs: 2.5", "--epochs"),
        ("epochs: [1, 2]", "expected one value"),
        ("epochs: true", "expected a word or a number"),
        ("task: {a: 1}", "expected a word or a number"),
        ("terms: [[v]]", "expected words or numbers"),
        ("dropout: 0", "expected true or false"),
        ("fisher: 'no'", "expected true or false"),
        ("device: tpu", "--device"),
        ("- a", "holds no table"),
        ("a: &x 1\nb: *x", "alias"),
        ("a: !!python/object:os.system 1", "tag"),
        ("task: '" + "x" * 300_000 + "'", "at most 262144"),
    ],
)
def test_what_no_file_may_say(text: str, said: str, trained: list[RunConfig]) -> None:
    assert said in assert_refused(beft("train", "--config", written(text)))
    assert trained == []


def test_no_such_file(folder: Path) -> None:
    assert "none.yaml" in assert_refused(beft("train", "--config", "none.yaml"))


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--terms", "q+v", "--layers", "1-2", "--no-dropout", "--lr", "3e-4", "--evaluate", "last", "--seed", "4"],
        ["--terms", "all", "--preset", "paper", "--task", "rte", "--regime", "medium", "--plain"],
        [
            "--train-file",
            "a.csv",
            "--text",
            "yes",
            "--label",
            "-1",
            "--add-bias",
            "q",
            "k",
            "--out",
            "x.beft.safetensors",
        ],
    ],
)
def test_what_is_printed_gives_the_same_run(words: list[str], trained: list[RunConfig]) -> None:
    printed = beft("train", *words, "--print-config")
    assert printed.status == 0, printed.err
    values = yaml.safe_load(printed.out)
    assert values["epochs"] and values["lr"], "what the preset fills in is said"
    for arguments in (words, ["--config", written(printed.out)]):
        assert beft("train", *arguments, "--json").status == 0
    by_flags, by_file = trained
    assert by_file.resolved() == by_flags.resolved()
    assert beft("train", "--config", "o.yaml", "--print-config").out == printed.out


def test_every_command_prints_and_reads(folder: Path) -> None:
    file = str(stored(folder, full=True))
    for words in (
        ["score", file, "--per-layer"],
        ["inspect", file],
        ["evaluate", file, "--task", "sst2", "--biases", "pre"],
        ["merge", file, file, "--method", "ties", "--density", "0.5", "--scope", "global"],
        ["select", "--then-train", "--n-train", "20"],
        ["extract", "bundled", "bundled", "--out", "e.beft.safetensors", "--seed", "3"],
        ["peft", "import", "a", "--base", "bundled", "--out", "e.beft.safetensors"],
        ["peft", "export", file, "a", "--task", "rte"],
        ["report", "sweep", "--lr", "0.01"],
        ["sweep", "--terms", "q+v", "all", "--seeds", "2", "--lrs", "1e-3", "--epochs", "2", "--out", "s"],
        ["tasks", "--json"],
        ["models"],
    ):
        command = words[:2] if words[0] == "peft" else words[:1]
        printed = beft(*words, "--print-config")
        assert printed.status == 0, (words, printed.err)
        again = beft(*command, "--config", written(printed.out), "--print-config")
        assert (again.status, again.out) == (0, printed.out), (words, again.err)


def test_a_file_may_name_the_snapshots(folder: Path) -> None:
    files = [str(stored(folder, name=str(seed), seed=seed)) for seed in (1, 2)]
    done = beft("score", "--config", written(f"files: {files}\njson: true\n"))
    assert [one["file"] for one in done.json["files"]] == files
    assert beft("inspect", "--config", written(f"file: {files[0]}\n")).out.startswith(files[0])


def test_the_configuration_of_a_model_goes_on_as_it_did(folder: Path) -> None:
    words = ["extract", "bundled", "bundled", "--out", "e.beft.safetensors", "--print-config"]
    by_name = beft(*words, "--model-config", "config.json").out
    assert "model_config: config.json" in by_name and beft(*words, "--config", "config.json").out == by_name


def test_hostile_files_are_read_or_refused(folder: Path) -> None:
    command = typer.main.get_command(app.build()).commands["train"]  # type: ignore[attr-defined]
    hostile = (
        "!!int ''",
        "9" * 6000,
        ".nan",
        "{a: b}",
        "[[[[1]]]]",
        "&a [*a]",
        "2024-12-24",
        "[" * 3000,
        "a: \0",
        "~x",
    )
    refused = 0
    for field in ("task", "terms", "layers", "epochs", "lr", "dropout", "out", "json"):
        for value in hostile:
            Path("h.yaml").write_text(f"{field}: {value}\n")
            try:
                found = defaults("h.yaml", command.params)
                assert all(isinstance(text, str | bool) for text in np.ravel(list(found.values())).tolist())
            except UserError:
                refused += 1
    assert refused > 50
