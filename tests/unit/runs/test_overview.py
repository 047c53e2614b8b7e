"""Runs in a list, their curves, and several of them beside each other."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beft_core.config import RunConfig
from beft_core.runs.compare import differences, effective, spreads
from beft_core.runs.curves import Curve, CurveReader
from beft_core.runs.overview import overview, overviews
from beft_core.runs.run import Run
from beft_core.runs.status import Status
from beft_core.sweeps.spec import SweepSpec


def made(root: Path, value: float | None = 0.5, kind: str = "train", state: str = "done", **config: Any) -> Run:
    run = Run.create(kind, RunConfig(**config).to_dict(), root)
    if value is not None:
        tell(run, {"type": "epoch", "run": 0, "epoch": 2, "step": 9, "train_loss": 0.3, "accuracy": value, "f1": 0.1})
    run.write_status(Status(state, created=1.0, began=2.0, ended=5.5))
    return run


def tell(run: Run, *records: dict[str, Any]) -> None:
    with run.metrics.open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


# --- overview ------------------------------------------------------------------------------------------------------


def test_a_run_in_a_row(tmp_path: Path) -> None:
    run = made(tmp_path, 0.75, task="sst2", terms=("q", "ln1"), seed=7)
    one = overview(run)
    assert (one.metric, one.value, one.last["train_loss"], one.seconds(100.0)) == ("accuracy", 0.75, 0.3, 3.5)
    assert one.label == one.name == f"{run.id[-6:]} b_q, b_LN1 on sst2, seed 7" and one.terms == ("q", "ln1")
    assert overview(made(tmp_path, kind="select")).trains == "probe of all biases"
    assert overview(made(tmp_path, mode="full")).trains == "every weight"
    table = made(tmp_path, train_file="/secret/folder/films.csv", text="a", label="b")
    assert overview(table).task == "films.csv"


def test_what_changes_on_disk_is_seen_at_once(tmp_path: Path) -> None:
    run = made(tmp_path, None, state="failed")
    assert overview(run).value is None
    tell(run, {"type": "epoch", "epoch": 1, "step": 1, "train_loss": 1.0, "accuracy": 0.25})
    run.write_status(Status("done", created=1.0))
    run.result.write_text('{"selected": {"projection_ratio": "v"}}')
    one = overview(run)
    assert (one.value, one.status.state, one.selected) == (0.25, "done", "v")


@pytest.mark.parametrize("between", [0, 3000])
def test_the_last_scored_epoch_is_found_however_far_it_is_from_the_end(tmp_path: Path, between: int) -> None:
    run = made(tmp_path, 0.75)
    tell(run, *({"type": "step", "step": step, "total": 9, "loss": [0.5]} for step in range(between)))
    tell(run, {"type": "epoch", "epoch": 3, "step": 12, "train_loss": 0.2})  # not scored
    run.metrics.open("a").write('{"type": "epoch", "epoch": 4, "acc')
    assert overview(run).last == {"epoch": 2, "step": 9, "train_loss": 0.3, "accuracy": 0.75, "f1": 0.1}


def test_a_message_is_never_taken_for_an_epoch(tmp_path: Path) -> None:
    run = made(tmp_path, None)
    tell(run, {"type": "message", "text": '{"type": "epoch", "accuracy": 1}'})
    assert overview(run).last == {}


def swept(root: Path, result: str = '{"runs": 12, "failed": 1, "stopped": false}', **fields: Any) -> Run:
    run = Run.create("sweep", SweepSpec.from_dict({"tasks": ["sst2", "rte"], **fields}).to_dict(), root)
    run.result.write_text(result)
    run.write_status(Status("done", created=1.0, began=2.0, ended=5.5))
    return run


def test_a_sweep_in_a_row(tmp_path: Path) -> None:
    one = overview(swept(tmp_path, terms=["v", "q+v"]))
    assert one.label == f"{one.id[-6:]} sweep of v, q+v on sst2 + rte" and one.tasks == ("sst2", "rte")
    assert one.summary == "12 fine-tunes, 1 failed" and one.value is None and not one.has_snapshot
    assert overview(swept(tmp_path, '{"runs": 1, "failed": 0}')).summary == "1 fine-tune"
    assert overview(made(tmp_path, task="cola")).tasks == ("cola",) and overview(made(tmp_path)).summary == ""


@pytest.mark.parametrize(
    "result", ["[", "{}", '{"runs": "x", "failed": 0}', '{"runs": 5, "failed": 0, "stopped": true}']
)
def test_a_sweep_without_a_result_counts_nothing(tmp_path: Path, result: str) -> None:
    assert overview(swept(tmp_path, result)).summary == ""


def test_damage_is_a_row_not_an_error(tmp_path: Path) -> None:
    run = made(tmp_path)
    for name in ("config.json", "status.json", "metrics.jsonl", "about.json", "result.json"):
        (run.path / name).write_bytes(b'\xff{"type": "epoch"\n[[\n')
    (one,) = overviews(tmp_path)
    assert one.status.state == "failed" and one.task == "?" and one.value is None and one.terms == ()


def test_two_hundred_ended_runs_cost_little_to_look_at_again(tmp_path: Path) -> None:
    for seed in range(200):
        made(tmp_path, seed=seed)
    overviews(tmp_path)
    began = time.process_time()
    assert len(overviews(tmp_path)) == 200
    assert time.process_time() - began < 0.3


# --- curves --------------------------------------------------------------------------------------------------------


def test_curves_are_read_once_and_grow(tmp_path: Path) -> None:
    run = made(tmp_path, 0.75)
    tell(
        run,
        {"type": "step", "step": 1, "total": 4, "loss": [0.9]},
        {"type": "scores", "step": 1, "scores": {"v": {"magnitude": 0.1}}},
    )
    reader = CurveReader(run)
    first = reader.read()
    assert reader.read() is first
    assert (first.loss.steps, first.loss.values) == ([1], [0.9]) and set(first.metrics) == {
        "train_loss",
        "accuracy",
        "f1",
    }
    assert first.scores["v", "magnitude"].values == [0.1]
    tell(
        run,
        {"type": "step", "step": 2, "total": 4, "loss": [None]},
        {"type": "step", "step": 3, "total": 4, "loss": [0.7]},
    )
    assert reader.read().loss.steps == [1, 3] and first.loss.steps == [1]
    run.metrics.write_text("")
    tell(run, {"type": "step", "step": 1, "total": 4, "loss": [0.1]})
    again = reader.read()
    assert again.loss.values == [0.1] and not again.metrics and not again.scores  # nothing of the file before


def test_strange_records_are_skipped(tmp_path: Path) -> None:
    run = made(tmp_path, None)
    tell(
        run,
        {"type": "step"},
        {"type": "step", "step": "x"},
        {"type": "step", "step": 1, "loss": []},
        {"step": 1},
        {"type": "scores", "step": 1, "scores": None},
        {"type": "epoch", "step": 1, "accuracy": "high"},
    )
    read = CurveReader(run).read()
    assert not read.loss.steps and not read.metrics and not read.scores


def test_a_resumed_run_replaces_what_it_tells_again() -> None:
    curve = Curve()
    for step, value in ((1, 9.0), (2, 8.0), (3, 7.0), (2, 5.0), (4, 4.0)):
        curve.add(step, value)
    assert (curve.steps, curve.values) == ([1, 2, 4], [9.0, 5.0, 4.0])


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=500), st.integers(4, 100))
def test_thinning_keeps_the_ends_and_every_peak(values: list[float], most: int) -> None:
    curve = Curve(list(range(len(values))), values)
    steps, kept = curve.thinned(most)
    assert len(steps) <= most and (np.diff(steps) > 0).all()
    assert steps[0] == 0 and steps[-1] == len(values) - 1 and (kept == np.array(values)[steps]).all()
    assert kept.min() == min(values) and kept.max() == max(values)


# --- contrast ------------------------------------------------------------------------------------------------------


def test_only_what_differs_in_effect_is_a_difference(tmp_path: Path) -> None:
    filled = RunConfig(task="sst2", terms=("v",)).resolved()
    runs = [
        made(tmp_path, task="sst2", terms=("v",)),
        made(tmp_path, task="sst2", terms=("v",), lr=filled.lr, epochs=filled.epochs, regime="low"),
        made(tmp_path, task="sst2", terms=("q",), seed=3),
    ]
    rows = [overview(run) for run in runs]
    assert differences(rows) == {"terms": [["v"], ["v"], ["q"]], "seed": [0, 0, 3]}
    assert differences(rows[:2]) == {}
    modes = [overview(made(tmp_path, mode="head")), overview(made(tmp_path, mode="head", terms=("q",)))]
    assert differences(modes) == {}
    assert set(differences([overview(made(tmp_path)), overview(made(tmp_path, kind="select"))])) >= {"kind", "mode"}


def test_spread_over_seeds(tmp_path: Path) -> None:
    for seed, value in ((0, 0.7), (1, 0.8), (2, 0.95)):
        made(tmp_path, value, seed=seed)
    made(tmp_path, 0.9, seed=2)  # newer: it counts
    made(tmp_path, 0.1, seed=3, state="cancelled")
    made(tmp_path, None, seed=4)
    made(tmp_path, 0.2, seed=5, lr=0.123)  # another setting, alone
    (group,) = spreads(overviews(tmp_path))
    values = np.array([0.7, 0.8, 0.9])
    assert group.seeds == [0, 1, 2] and group.metric == "accuracy"
    assert group.mean == pytest.approx(values.mean()) and group.std == pytest.approx(values.std(ddof=1))


def test_sweeps_differ_in_their_grid_and_in_what_their_fine_tunes_share(tmp_path: Path) -> None:
    sweeps = [swept(tmp_path, seeds=2, epochs=1), swept(tmp_path, seeds=2, epochs=3), made(tmp_path)]
    rows = [overview(run) for run in sweeps]
    assert differences(rows[:2]) == {"epochs": [1, 3]} and spreads(rows) == []
    assert {"kind", "tasks", "seeds", "epochs"} <= set(differences(rows)) and effective(rows[0])["epochs"] == 1


def test_a_list_of_settings_of_another_time_is_compared_as_it_stands(tmp_path: Path) -> None:
    runs = [Run.create("merge", {"method": method, "future": [1]}, tmp_path) for method in ("mean", "ties")]
    assert differences([overview(run) for run in runs]) == {"method": ["mean", "ties"]}
