"""The commands select and train: names of files, what is refused before the work, what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli_runner import assert_refused, beft, unchecked
from example_snapshots import example

from beft_core.cli.fine_tune import default_name, metric_cell
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.adapter_folder import AdapterFolder, read_adapter
from beft_core.snapshots.snapshot import Snapshot, read_snapshot


def test_a_second_snapshot_without_a_second_fine_tune_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beft_core.cli.fine_tune.checked_data", lambda *_: pytest.fail("the work began"))
    assert "without --then-train" in assert_refused(beft("select", "--trained-out", "v.beft.safetensors"))


def test_default_names_say_task_terms_and_seed() -> None:
    assert default_name(RunConfig(task="sst2", seed=3), ["v", "q"]) == "sst2-v-q-seed3"
    assert default_name(RunConfig(train_file="data/my films.csv", text="t", label="l"), ["all"]) == "my films-all-seed0"
    with pytest.raises(UserError):
        default_name(RunConfig(task="sst9"), ["v"])


def test_names_are_checked_before_the_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beft_core.cli.fine_tune.checked_data", lambda *_: pytest.fail("the work began"))
    both = ["--out", "a.beft.safetensors", "--trained-out", "a.beft.safetensors"]
    assert "for both snapshots" in assert_refused(beft("select", "--then-train", *both))
    assert "--checkpoint" in assert_refused(beft("train", "--checkpoint", "no-folder/state"))
    assert "--checkpoint" in assert_refused(beft("train", "--checkpoint", "."))


def test_a_default_name_that_is_taken_gets_a_number(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = folder / "demo-sentiment-v-seed0.beft.safetensors"
    mine.write_text("mine")

    def train(*_: object, **_rest: object) -> Snapshot:
        (folder / "demo-sentiment-v-seed0-2.beft.safetensors").write_text("taken meanwhile")
        return example()

    monkeypatch.setattr("beft_core.training.workflow.train", train)
    unchecked(monkeypatch)
    done = beft("train")
    assert done.out.splitlines()[-1] == "snapshot: demo-sentiment-v-seed0-3.beft.safetensors"
    assert read_snapshot("demo-sentiment-v-seed0-3.beft.safetensors").meta == example().meta
    assert mine.read_text() == "mine"
    assert "replaced demo-sentiment-v-seed0.beft" in beft("train", "--force").err
    assert read_snapshot(mine).meta == example().meta


def test_a_probe_that_learned_nothing_says_so_in_its_last_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from beft_core.training import workflow

    known = {"constant_answer": {"value": 0.79, "examples": 100}, "mode": "all", "null_terms": ("k",)}
    probe = example(full=True, **known)
    scores = score_snapshot(probe)
    unchecked(monkeypatch)
    monkeypatch.setattr(
        "beft_core.training.workflow.select", lambda *_, **__: workflow.Selection(probe, scores, scores.selected())
    )
    lines = beft("select").out.splitlines()
    assert lines[-1] == (
        "the probe did not beat a constant answer (accuracy 80.0 ± 8.0 on 100 examples, constant 79.0): its scores say "
        "little"
    )
    assert any(line.startswith("Magnitude (L1) selects") for line in lines), "the scores are there all the same"
    assert sum("constant answer" in line for line in lines) == 1
    document = beft("select", "--json").json
    assert document["constant_answer"]["beaten"] is False and document["constant_answer"]["constant"] == 0.79
    monkeypatch.setattr("beft_core.training.workflow.train", lambda *_, **__: example(**known | {"mode": "terms"}))
    assert "the fine-tune did not beat a constant answer" in beft("train").out.splitlines()[-1]
    older = example(mode="all")
    monkeypatch.setattr("beft_core.training.workflow.train", lambda *_, **__: older)
    assert beft("train", "--terms", "all", "--json").json["constant_answer"] is None


@pytest.mark.parametrize(
    ("words", "warned"),
    [
        (["--lr", "2e-5"], True),
        (["--lr", "1e-3"], False),
        (["--terms", "full", "--lr", "1e-2"], True),
        (["--terms", "full", "--lr", "1e-5"], False),
        ([], False),
    ],
)
def test_a_learning_rate_of_another_method_is_warned_of(
    words: list[str], warned: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unchecked(monkeypatch)
    monkeypatch.setattr("beft_core.training.workflow.train", lambda *_, **__: example())
    done = beft("train", *words, "--json")
    assert done.status == 0 and ("warning: a learning rate of" in done.err) is warned
    assert done.json["warnings"] == [
        line.removeprefix("warning: ") for line in done.err.splitlines() if line.startswith("warning")
    ]


def test_counts_are_whole_and_gaps_are_dashes() -> None:
    assert metric_cell(3.0, "epoch") == "3"
    assert metric_cell(12.0, "step") == "12"
    assert metric_cell(0.5, "accuracy") == "0.5000"
    assert metric_cell(None, "accuracy") == "–"


def test_an_adapter_is_written_beside_its_snapshot(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = AdapterFolder({"peft_type": "LORA"}, {"base_model.model.x": np.ones(3, np.float32)})

    def fake(config: RunConfig, *_: object, **__: object) -> Snapshot:
        snapshot = example()
        snapshot.adapter = adapter
        return snapshot

    monkeypatch.setattr("beft_core.training.workflow.train", fake)
    unchecked(monkeypatch)
    result = beft("train", "--method", "lora", "--targets", "q", "v")
    assert result.status == 0, result.err
    assert "adapter: " in result.out and "PeftModel.from_pretrained" in result.out
    assert read_adapter(folder / "demo-sentiment-lora-seed0.adapter").digest() == adapter.digest()
    assert read_snapshot(folder / "demo-sentiment-lora-seed0.beft.safetensors").adapter is None
    told = json.loads(beft("train", "--method", "lora", "--out", "one.beft.safetensors", "--json").out)
    assert Path(told["adapter"]).name == "one.adapter"
