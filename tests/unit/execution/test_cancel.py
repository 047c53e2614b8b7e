"""Ending a run: asked for once or often, of one that works or has ended."""

import os
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from beft_core.execution.cancel import cancel
from beft_core.process_id import ProcessId
from beft_core.runs.run import Run
from beft_core.runs.status import Status


def me() -> ProcessId:
    return ProcessId.of(psutil.Process())


def nobody() -> ProcessId:
    """A process of this machine's past: our PID, another start."""
    return replace(me(), started=me().started - 1000, boot="before" if me().boot else None)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create("train", {"task": "sst2", "batch_size": 16}, tmp_path)


def test_cancel_shows_at_once_and_is_idempotent(run: Run) -> None:
    run.write_status(Status("running", created=1.0, process=me()))
    cancel(run)
    asked = (run.path / "cancel").read_bytes()
    cancel(run)
    assert run.status().state == "cancelling" and (run.path / "cancel").read_bytes() == asked
    run.write_status(Status("running", created=1.0, process=nobody()))
    assert run.status().state == "cancelled"


@pytest.mark.parametrize("state", ["done", "failed", "cancelled"])
def test_cancelling_an_ended_run_changes_nothing(run: Run, state: str) -> None:
    run.write_status(Status(state, created=1.0, process=nobody()))
    cancel(run)
    assert run.status().state == state and not run.cancel_asked()


def test_how_long_ago_cancelling_was_asked_does_not_follow_the_clock(run: Run) -> None:
    run.write_status(Status("running", created=1.0, process=me()))
    run.ask_cancel()
    for at in (1.0, time.time() + 1e6):
        os.utime(run.path / "cancel", (at, at))
        if me().boot is not None:
            assert 0 <= run.cancel_age() < 30
    (run.path / "cancel").write_bytes(b"")  # as earlier versions left it
    os.utime(run.path / "cancel", (time.time() - 100,) * 2)
    assert 99 < run.cancel_age() < 130
    os.utime(run.path / "cancel", (time.time() + 100,) * 2)
    assert run.cancel_age() == 0
