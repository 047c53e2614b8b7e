"""Runs in a list, their curves, and several of them beside each other."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from made_runs import made, tell

from beft_core.runs.compare import differences, effective, spreads
from beft_core.runs.overview import overview, overviews
from beft_core.runs.run import Run
from beft_core.runs.status import Status
from beft_core.sweeps.spec import SweepSpec

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


def test_sweeps_differ_in_their_grid_and_in_what_their_fine_tunes_share(tmp_path: Path) -> None:
    sweeps = [swept(tmp_path, seeds=2, epochs=1), swept(tmp_path, seeds=2, epochs=3), made(tmp_path)]
    rows = [overview(run) for run in sweeps]
    assert differences(rows[:2]) == {"epochs": [1, 3]} and spreads(rows) == []
    assert {"kind", "tasks", "seeds", "epochs"} <= set(differences(rows)) and effective(rows[0])["epochs"] == 1
