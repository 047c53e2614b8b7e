"""The class of all commands, by help and parsing: groups, hidden names, suggestions, one line for what is unknown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from cli_runner import assert_refused, beft

from beft_core.cli import app
from beft_core.cli.parser import command
from beft_core.settings.aliases import ALIASES, COMMANDS, INSTEAD


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """An application of one command; what it was called with."""
    called: list[dict[str, object]] = []

    def one(
        file: str,
        lr: float = typer.Option(0.1, "--lr", rich_help_panel=command.TRAINING),
        n_train: int = typer.Option(3, "--n-train", rich_help_panel=command.DATA),
        quiet: bool = typer.Option(False, "--quiet"),
    ) -> None:
        """Do one thing."""
        called.append({"file": file, "lr": lr, "n_train": n_train, "quiet": quiet})

    def build() -> typer.Typer:
        application = typer.Typer(rich_markup_mode=None, cls=command.Group)
        application.callback()(lambda: None)  # else a single command is no group
        command.add(application, "one", one)
        command.add(application, "two", lambda: None)
        return application

    monkeypatch.setattr(app, "build", build)
    return called


def test_help_has_the_groups_in_order_and_hides_other_names(toy: list[dict[str, object]]) -> None:
    told = beft("one", "--help").out
    places = [told.index(f"{title}:\n") for title in ("Arguments", "Data", "Training", "Output", "Options")]
    assert places == sorted(places)
    assert told.index("--n-train") < told.index("--lr") < told.index("--print-config") < told.index("--quiet")
    assert "--learning-rate" not in told and "--n_train" not in told


@pytest.mark.parametrize("name", ["--lr", "--learning-rate", "--learning_rate"])
def test_other_names_mean_the_option(name: str, toy: list[dict[str, object]]) -> None:
    assert beft("one", "f", name, "0.5", "--max_train_samples", "7").status == 0
    assert toy == [{"file": "f", "lr": 0.5, "n_train": 7, "quiet": False}]
    assert beft("one", f"{name}=0.25", "f").status == 0
    assert toy[1]["lr"] == 0.25


def test_a_value_that_looks_like_another_name_is_a_value(toy: list[dict[str, object]]) -> None:
    assert beft("one", "--", "--learning-rate").status == 0
    assert toy[0]["file"] == "--learning-rate"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["train", "--learning-rat", "1"], "No such option --learning-rat. Did you mean --lr? See beft train --help"),
        (["train", "--epoch", "1"], "No such option --epoch. Did you mean --epochs?"),
        (["sweep", "--n-trian", "3"], "No such option --n-trian. Did you mean --n-train?"),
        (["score", "--per-lyer"], "No such option --per-lyer. Did you mean --per-layer?"),
        (["--versoin"], "No such option --versoin. Did you mean --version?"),
        (["train", "--qqqqqq"], "beft: No such option --qqqqqq. See beft train --help"),
        (["train", "-q"], "No such option -q"),
        (["train", "--bf16"], "frozen products may be bfloat16; try --precision bfloat16"),
        (["sweep", "--warmup_ratio", "0.1"], "No such option --warmup_ratio: the learning rate has no warm-up"),
        (["train", "--do_train"], "is the command's name; try beft train"),
        (["score", "--fp16"], "No such option --fp16. See beft score --help"),  # which trains nothing
        (["train", "--lr_scheduler_type", "cosine"], "got --schedule cosine; expected one of constant, linear"),
    ],
)
def test_an_unknown_option_is_one_line_with_what_was_meant(typed: list[str], said: str) -> None:
    assert said in assert_refused(beft(*typed))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["finetune", "--task", "sst2"], "No such command finetune. Did you mean train? See beft --help"),
        (["fine-tune"], "Did you mean train?"),
        (["eval", "x"], "Did you mean evaluate?"),
        (["compare"], "Did you mean score or merge?"),
        (["tarin"], "Did you mean train?"),
        (["qqqqq"], "No such command qqqqq. See beft --help"),
        (["peft", "eval"], "No such command eval. See beft peft --help"),
    ],
)
def test_an_unknown_command_is_one_line_with_what_was_meant(typed: list[str], said: str) -> None:
    assert said in assert_refused(beft(*typed))


def test_every_word_for_a_command_means_one_and_every_proposal_can_be_typed() -> None:
    commands = typer.main.get_command(app.build()).commands  # type: ignore[attr-defined]
    assert set(COMMANDS).isdisjoint(commands)
    assert {name for names in COMMANDS.values() for name in names} <= set(commands)
    own = set(command.own_options(commands["train"]))
    assert own.isdisjoint(INSTEAD) and own.isdisjoint(ALIASES) and set(INSTEAD).isdisjoint(ALIASES)
    assert all(name.startswith("--") and "_" not in name for name in INSTEAD)
    for why, proposal in INSTEAD.values():
        assert why and set(re.findall(r"--[a-z-]+", proposal)) <= own
        assert all(name in commands for name in re.findall(r"beft ([a-z]+)", proposal))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["train", "--learning-rate", "0.01"], "lr: 0.01"),
        (["train", "--num-train-epochs", "3"], "epochs: 3"),
        (["train", "--per-device-train-batch-size", "8"], "batch_size: 8"),
        (["train", "--max-seq-length", "64"], "max_length: 64"),
        (["train", "--weight-decay", "0.5"], "weight_decay: 0.5"),
        (["train", "--seed", "5"], "seed: 5"),
        (["train", "--output", "a.beft.safetensors"], "out: a.beft.safetensors"),
        (["train", "--max_train_samples", "9"], "n_train: 9"),
        (["train", "--lr_scheduler_type", "constant"], "schedule: constant"),
        (["train", "--max_grad_norm", "2"], "clip: 2.0"),
        (["train", "--task_name", "rte"], "task: rte"),
        (["train", "--model_name_or_path", "./m"], "model: ./m"),
        (["train", "--evaluate-when", "last"], "evaluate: last"),
        (["sweep", "--learning_rate", "0.01", "0.02"], "lrs:\n- 0.01\n- 0.02"),
        (["sweep", "--output_dir", "s"], "out: s"),
    ],
)
def test_what_users_of_transformers_type(words: list[str], line: str) -> None:
    done = beft(*words, "--print-config")
    assert done.status == 0 and line in done.out, done.err


def test_every_alias_is_taken_by_some_command() -> None:
    application = typer.main.get_command(app.build())
    have = {option for one in application.commands.values() for option in command.own_options(one)}  # type: ignore[attr-defined]
    assert {target for targets in ALIASES.values() for target in targets} <= have | {"--base"}


def test_nothing_is_done_where_options_are_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beft_core.cli.fine_tune.checked_data", lambda *_: pytest.fail("the work began"))
    monkeypatch.chdir(tmp_path)
    assert beft("train", "--print-config").status == 0 and not list(tmp_path.iterdir())
