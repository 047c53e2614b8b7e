"""The commands select and train: names of files, what is refused before the work, what is printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runner import assert_refused, beft
from example_snapshots import example

from beft_core.cli.fine_tune import default_name, metric_cell
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.snapshots.snapshot import Snapshot, read_snapshot


def test_a_second_snapshot_without_a_second_fine_tune_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def began(_: str) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr("beft_core.cli.fine_tune.locate", began)
    assert "without --then-train" in assert_refused(beft("select", "--trained-out", "v.beft.safetensors"))


def test_default_names_say_task_terms_and_seed() -> None:
    assert default_name(RunConfig(task="sst2", seed=3), ["v", "q"]) == "sst2-v-q-seed3"
    assert default_name(RunConfig(train_file="data/my films.csv", text="t", label="l"), ["all"]) == "my films-all-seed0"
    with pytest.raises(UserError):
        default_name(RunConfig(task="sst9"), ["v"])


def test_names_are_checked_before_the_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beft_core.cli.fine_tune.locate", lambda _: pytest.fail("the work began"))
    both = ["--out", "a.beft.safetensors", "--trained-out", "a.beft.safetensors"]
    assert "for both snapshots" in assert_refused(beft("select", "--then-train", *both))
    assert "--checkpoint" in assert_refused(beft("train", "--checkpoint", "no-folder/state"))
    assert "--checkpoint" in assert_refused(beft("train", "--checkpoint", "."))


def test_a_default_name_that_is_taken_gets_a_number(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = folder / "demo-sentiment-v-seed0.beft.safetensors"
    mine.write_text("mine")

    def train(*_: object) -> Snapshot:
        (folder / "demo-sentiment-v-seed0-2.beft.safetensors").write_text("taken meanwhile")
        return example()

    monkeypatch.setattr("beft_core.training.workflow.train", train)
    monkeypatch.setattr("beft_core.cli.fine_tune.locate", lambda _: None)
    done = beft("train")
    assert done.out.splitlines()[-1] == "snapshot: demo-sentiment-v-seed0-3.beft.safetensors"
    assert read_snapshot("demo-sentiment-v-seed0-3.beft.safetensors").meta == example().meta
    assert mine.read_text() == "mine"
    assert "replaced demo-sentiment-v-seed0.beft" in beft("train", "--force").err
    assert read_snapshot(mine).meta == example().meta


def test_counts_are_whole_and_gaps_are_dashes() -> None:
    assert metric_cell(3.0, "epoch") == "3"
    assert metric_cell(12.0, "step") == "12"
    assert metric_cell(0.5, "accuracy") == "0.5000"
    assert metric_cell(None, "accuracy") == "–"
