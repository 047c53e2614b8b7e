"""Starting a run, and starting one again: what is left where it does not work, and what is put aside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from fake_worker import small_snapshot

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.execution import local, start
from beft_core.files.locks import hold
from beft_core.runs.run import Run, list_runs
from beft_core.snapshots.snapshot import read_snapshot
from beft_core.sweeps.rows import MEMORY_RAN_OUT, plan_columns
from beft_core.sweeps.spec import SweepSpec
from beft_core.sweeps.table import write_table


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Runs whose worker was to be started; none is."""
    runs: list[Run] = []
    monkeypatch.setattr(local.Local, "start", lambda self, run: runs.append(run))
    return runs


def ended(root: Path, state: str, kind: str = "train") -> Run:
    run = Run.create(kind, {"device": "cpu"}, root)
    run.write_status(replace(run.recorded(), state=state, ended=2.0))
    return run


def test_what_a_run_works_on_lies_in_its_folder_before_it_is_started(started: list[Run], tmp_path: Path) -> None:
    snapshot = small_snapshot()
    run = start.launch("merge", RunConfig(device="cpu"), tmp_path, {"source-1.beft.safetensors": snapshot})
    assert started == [run] and run.config()[0] == "merge"
    assert read_snapshot(run.path / "source-1.beft.safetensors").keys() == snapshot.keys()


def test_nothing_is_left_of_a_run_whose_snapshot_cannot_be_kept(
    started: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise UserError("the disk is full")

    monkeypatch.setattr(start, "write_snapshot", full)
    with pytest.raises(UserError, match="the disk is full"):
        start.launch("merge", RunConfig(), tmp_path, {"source-1.beft.safetensors": small_snapshot()})
    assert started == [] and list_runs(tmp_path) == []


@pytest.mark.parametrize("state", ["cancelled", "failed"])
def test_an_ended_run_is_queued_again(started: list[Run], tmp_path: Path, state: str) -> None:
    run = ended(tmp_path, state)
    run.checkpoint.write_bytes(b"state")
    start.resume(run)
    assert started == [run] and run.recorded().state == "queued" and run.checkpoint.exists()


def test_a_run_that_is_done_or_being_started_is_not_started_again(started: list[Run], tmp_path: Path) -> None:
    for again in (start.resume, start.start_over):
        with pytest.raises(UserError, match="is done; expected a run that was cancelled, failed or lost"):
            again(ended(tmp_path, "done"))
        failed = ended(tmp_path, "failed")
        with hold(failed.starting, "it"), pytest.raises(UserError, match="just being started"):
            again(failed)
    assert started == []


def test_a_sweep_that_is_done_is_started_again_where_memory_ran_out(started: list[Run], tmp_path: Path) -> None:
    run = ended(tmp_path, "done", "sweep")
    run.sweep.mkdir()
    for failure, has_more in (("the loss is not finite", False), (f"{MEMORY_RAN_OUT} with this run alone", True)):
        row = {**plan_columns(SweepSpec().runs()[0]), "state": "failed", "failure": failure}
        write_table(pd.DataFrame([row]), run.sweep)
        assert start.has_more_to_try(run) is has_more
        if not has_more:
            with pytest.raises(UserError, match="is done"):
                start.resume(run)
    start.resume(run)
    assert started == [run] and run.recorded().state == "queued"
    assert not start.has_more_to_try(ended(tmp_path, "done")) and not start.has_more_to_try(
        ended(tmp_path, "done", "sweep")
    )


def test_starting_over_puts_aside_the_checkpoints_of_its_kind_and_no_finished_part(
    started: list[Run], tmp_path: Path
) -> None:
    run = ended(tmp_path, "failed", "sweep")
    (run.sweep / "rows").mkdir(parents=True)
    for name in ("checkpoint.safetensors", "sweep/bank-0123.safetensors", "sweep/rows/a.json"):
        (run.path / name).write_text(name)
    start.start_over(run)
    kept = {str(path.relative_to(run.path)): path.read_text() for path in run.path.rglob("*") if path.is_file()}
    assert kept["unusable-checkpoint.safetensors"] == "checkpoint.safetensors"
    assert kept["sweep/unusable-bank-0123.safetensors"] == "sweep/bank-0123.safetensors"
    assert kept["sweep/rows/a.json"] == "sweep/rows/a.json" and not run.checkpoint.exists()
    assert started == [run] and run.has_finished_parts()
