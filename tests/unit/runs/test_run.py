"""Run folders as their readers see them: states, half-written files, strangers' folders."""

import errno
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from beft_core.errors import UserError
from beft_core.execution.cancel import cancel
from beft_core.files.disk import NoRoom
from beft_core.files.locks import hold
from beft_core.process_id import ProcessId
from beft_core.runs.about import delete
from beft_core.runs.run import Run, find_run, list_runs
from beft_core.runs.status import Status


def me() -> ProcessId:
    return ProcessId.of(psutil.Process())


def nobody() -> ProcessId:
    """A process of this machine's past: our PID, another start."""
    return replace(me(), started=me().started - 1000, boot="before" if me().boot else None)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create("train", {"task": "sst2", "batch_size": 16}, tmp_path)


def test_new_run_is_queued_and_found_again(run: Run, tmp_path: Path) -> None:
    assert run.status().state == "queued"
    assert run.config() == ("train", {"task": "sst2", "batch_size": 16})
    assert list_runs(tmp_path) == [run] == [find_run(run.id, tmp_path)]


@pytest.mark.parametrize("name", ["config.json", "status.json"])
def test_a_run_that_finds_no_room_leaves_no_damaged_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(NoRoom, match=f"{name}: the disk is full"):
        Run.create("train", {}, tmp_path)
    assert list_runs(tmp_path) == []


def test_runs_sort_by_time_of_creation(tmp_path: Path) -> None:
    made = [Run.create("train", {}, tmp_path) for _ in range(20)]
    assert list_runs(tmp_path) == made[::-1]


@pytest.mark.parametrize("name", ["", "..", "../../etc", "x", "20250101-000000-000000-zzzzzz", "a" * 300, "\0"])
def test_names_never_become_paths(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the name of a run"):
        find_run(name, tmp_path)


def test_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="select, train"):
        Run.create("destroy", {}, tmp_path)


def test_a_worker_that_is_gone_is_lost(run: Run) -> None:
    run.write_status(Status("running", created=1.0, process=nobody(), stage="train", done=3, total=9))
    status = run.status()
    assert status.state == "lost"
    assert "vanished during “train” (3 of 9)" in str(status.message) and "--batch-size 8 (it was 16)" in str(
        status.proposal
    )
    assert run.recorded().state == "running"  # nobody but the worker writes


def test_a_zombie_is_gone(run: Run) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = ProcessId.of(psutil.Process(child.pid))
    assert process.find() is not None
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, but not collected
    assert process.find() is None
    child.wait()
    assert process.find() is None


def test_a_worker_that_never_came_is_lost(run: Run) -> None:
    run.write_status(Status("queued", created=time.time() - 3600))
    assert run.status().state == "lost"


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b'{"state":"running"}',
        b'{"state":"dancing","created":1}',
        b'{"state":"done","created":"x"}',
        b'{"state":"done","created":1,"process":5}',
        b'{"state":"done","created":1,"colour":"red"}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_status_is_a_failed_run(run: Run, damage: bytes) -> None:
    (run.path / "status.json").write_bytes(damage)
    status = run.status()
    assert status.state == "failed" and "damaged" in str(status.message) and status.created > 0


def test_strangers_in_the_folder_are_not_runs(run: Run, tmp_path: Path) -> None:
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "20250101-000000-000000-abcdef").write_text("a file")
    (tmp_path / "runs" / "20250101-000000-000001-abcdef").symlink_to(run.path)
    broken = tmp_path / "runs" / "20250101-000000-000002-abcdef"
    broken.mkdir()
    assert list_runs(tmp_path) == [run, Run(broken)]
    assert Run(broken).status().state == "failed"
    with pytest.raises(UserError):
        Run(broken).config()
    assert Run(broken).read_metrics() == ([], 0) and Run(broken).log_tail() == []
    assert list_runs(tmp_path / "nowhere") == []


def test_a_start_that_was_recorded_ten_seconds_off_is_still_the_worker(run: Run) -> None:
    if me().ticks is None:
        pytest.skip("the system has no boot id")
    run.write_status(Status("running", created=1.0, process=replace(me(), started=me().started - 10)))
    assert run.status().state == "running"


@pytest.mark.parametrize("ahead", [30.0, 3600.0, 1e9])
def test_a_run_that_was_created_in_the_future_is_cancelled_and_deleted(run: Run, ahead: float, tmp_path: Path) -> None:
    """The clock was set back since; nobody is starting a worker."""
    run.write_status(Status("queued", created=time.time() + ahead))
    assert run.status().state == ("queued" if ahead < 60 else "lost")
    other = Run.create("train", {}, tmp_path)
    other.write_status(Status("queued", created=time.time() + ahead))
    delete(other)
    assert list_runs(tmp_path) == [run]
    run.write_status(Status("queued", created=time.time() + 30))
    cancel(run)
    assert run.status().state == "cancelled"
    delete(run)
    assert list_runs(tmp_path) == []


def test_a_run_that_is_being_started_is_neither_lost_nor_deleted(run: Run) -> None:
    run.write_status(Status("queued", created=1.0))
    with hold(run.starting, "the start"):
        assert run.status().state == "queued"
        with pytest.raises(UserError, match="is queued"):
            delete(run)
        cancel(run)
        assert run.status().state == "cancelling"
    assert run.status().state == "cancelled"
