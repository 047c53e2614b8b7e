"""The commands evaluate and merge: what they compute, write and print."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_runner import beft, stored
from example_snapshots import LAYERS

from beft_core.config import RunConfig
from beft_core.merging.methods import METHODS
from beft_core.snapshots.snapshot import Snapshot, read_snapshot
from beft_core.tasks.examples import Examples, TaskData
from beft_core.tasks.registry import TASKS


def test_every_parameter_of_a_merge_has_a_flag() -> None:
    help_ = beft("merge", "--help").out
    for method in METHODS.values():
        for parameter in method.parameters:
            assert f"--{parameter.name}" in help_


@pytest.mark.parametrize("biases", ["post", "pre"])
def test_the_named_biases_are_evaluated(biases: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    none = Examples([], None, np.array([]))
    monkeypatch.setattr(
        "beft_core.cli.evaluation.read_data", lambda _: TaskData(TASKS["sst2"], none, {"validation": none}, "the moon")
    )

    def fake(_: Snapshot, config: RunConfig, biases: str = "post", **_rest: object) -> dict[str, float]:
        asked.append((config.task, biases))
        return {"accuracy": 0.5}

    monkeypatch.setattr("beft_core.training.evaluate.evaluate", fake)
    monkeypatch.setattr("beft_core.cli.evaluation.locate", lambda name: None)
    done = beft("evaluate", stored(folder, task="sst2", full=True), "--task", "sst2", "--biases", biases, "--json")
    assert done.status == 0, done.err
    assert asked == [("sst2", biases)] and done.json["biases"] == biases
    assert (done.json["data"], done.json["examples"]) == ("the moon", 0)
    for name, hyperparameters, said in (("held", {"hold_out": 20}, True), ("not", {}, False)):
        file = stored(folder, name=name, task="sst2", full=True, hyperparameters=hyperparameters)
        done = beft("evaluate", file, "--task", "sst2", "--biases", biases)
        assert "on sst2: 0 validation examples (the moon)" in done.out
        assert ("own metrics are of training examples that it held out" in done.err) is said


def test_merge_writes_the_average_and_compares(folder: Path) -> None:
    files = [stored(folder, name=str(n), seed=n, trained_terms=("v",), full=True) for n in (1, 2)]
    result = beft("merge", *files, "--method", "mean", "--out", "m.beft.safetensors", "--json")
    assert result.status == 0, result.err
    a, b = (read_snapshot(file) for file in files)
    merged = read_snapshot("m.beft.safetensors")
    both = [s.post("encoder", "v").astype(np.float64) for s in (a, b)]
    np.testing.assert_allclose(merged.post("encoder", "v"), sum(both) / 2, rtol=1e-6)
    assert set(merged.meta.heads) == {"task1", "task2"}

    da, db = (s.post("encoder", "v").astype(np.float64) - s.pre("encoder", "v") for s in (a, b))
    cosine = (da * db).sum() / np.sqrt((da**2).sum() * (db**2).sum())
    (pair,) = result.json["comparison"]["pairs"]
    assert pair["differences"]["cosine"] == pytest.approx(cosine)
    assert pair["differences"]["angle_degrees"] == pytest.approx(np.degrees(np.arccos(cosine)))
    assert pair["sign_conflicts"] == pytest.approx((da * db < 0).mean())
    assert len(pair["differences"]["cosine_per_layer"]["encoder.v"]) == LAYERS
    text = beft("merge", *files, "--method", "ties", "--density", "0.5").out
    overall = next(line for line in text.splitlines() if "overall" in line)
    assert f"{np.degrees(np.arccos(cosine)):.1f}°" in overall and f"{100 * (da * db < 0).mean():.1f} %" in overall
    assert f"encoder.v layer {LAYERS - 1}" in text


@pytest.mark.parametrize("flags", [["--max-length", "8"], ["--data-dir", "."], ["--file", "task1=rows.csv"]])
def test_a_merge_that_is_not_scored_takes_no_flags_of_scoring(flags: list[str], folder: Path) -> None:
    files = [stored(folder, name=str(n), seed=n, trained_terms=("v",), full=True) for n in (1, 2)]
    result = beft("merge", *files, *flags)
    assert result.status == 2 and f"got {flags[0]} without --evaluate" in result.err
    # These snapshots hold what a Fisher average weighs by, so there is nothing to measure either.
    assert beft("merge", *files, *flags, "--method", "fisher").status == 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--file", "rows.csv", "--problem", "regression"], "got --problem for the head films"),
        (["--file", "rows.csv", "--prompt", "{text}"], "got --prompt for the head films"),
        (["--task", "films", "--data-dir", "."], "got --data-dir for the head films"),
        (["--file", "rows.csv", "--name", "films", "--task", "rte"], "got both --name films and --task rte"),
    ],
)
def test_flags_that_a_head_of_a_table_has_no_use_for_are_refused(flags: list[str], said: str, folder: Path) -> None:
    (folder / "rows.csv").write_text("text,label\na,no\nb,yes\n")
    result = beft("evaluate", stored(folder, task="films", full=True), *flags)
    assert result.status == 2 and said in result.err
