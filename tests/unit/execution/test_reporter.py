"""What a run tells while the disk is full: nothing of it ends the run, and it is all there once there is room."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from beft_core.execution import reporter as module
from beft_core.execution.reporter import Reporter
from beft_core.files import disk
from beft_core.files.disk import NoRoom
from beft_core.runs.run import Run


class Disk:
    """While it is full, renames fail, and of records only every ``part``-th of the bytes gets through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOSPC, part: int = 2) -> None:
        self.full, self.tries = False, 0
        replace, opened = Path.replace, module.open_plain

        def fail() -> None:
            if self.full:
                self.tries += 1
                raise OSError(number, os.strerror(number))

        def replaced(path: Path, target: Path) -> Path:
            fail()
            return replace(path, target)

        class Half:
            def __init__(self, file: Any) -> None:
                self.file, self.tell = file, file.tell

            def write(inner, block: bytes) -> None:
                inner.file.write(block[: len(block) // part] if self.full else block)
                inner.file.flush()
                fail()

        @contextmanager
        def open_half(*arguments: Any, **more: Any) -> Iterator[Half]:
            with opened(*arguments, **more) as file:
                yield Half(file)

        monkeypatch.setattr(Path, "replace", replaced)
        monkeypatch.setattr(module, "open_plain", open_half)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create("train", {}, tmp_path)


def test_what_found_no_room_is_written_later_in_order(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Disk(monkeypatch)
    reporter = Reporter(run, "cpu")
    reporter.stage("load model")
    full.full = True
    reporter.stage("train", 3)
    for step in (1, 2, 3):
        reporter.epoch({"epoch": step, "accuracy": 0.5})
    assert run.recorded().stage == "load model"
    full.full = False
    reporter.message("room again")
    reporter.end("done")
    status = run.recorded()
    assert (status.state, status.stage, status.total) == ("done", "train", 3) and status.ended is not None
    records, _ = run.read_metrics()
    assert [(r["type"], r.get("name") or r.get("epoch") or r.get("text")) for r in records] == [
        ("stage", "load model"),
        ("stage", "train"),
        ("epoch", 1),
        ("epoch", 2),
        ("epoch", 3),
        ("message", "room again"),
    ]


def test_memory_for_what_waits_is_bounded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNWRITTEN", 256)
    full = Disk(monkeypatch, part=10**6)
    reporter = Reporter(run, "cpu")
    full.full = True
    for number in range(99):
        reporter.message(f"{number:02}")
    full.full = False
    reporter.end("done")
    kept = [record["text"] for record in run.read_metrics()[0]]
    assert 5 <= len(kept) <= 10 and kept == sorted(kept) and len(set(kept)) == len(kept)


def test_the_last_word_waits_for_room(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Disk(monkeypatch)
    reporter = Reporter(run, "cpu")
    full.full = True

    pause = time.sleep

    def sleep(seconds: float) -> None:
        if threading.current_thread() is threading.main_thread():
            full.full = full.tries < 6
        else:  # the heartbeat, which does not wait for room
            pause(seconds)

    monkeypatch.setattr(disk.time, "sleep", sleep)
    reporter.end("failed", message="why")
    assert (run.recorded().state, run.recorded().message) == ("failed", "why")
    full.full = True
    monkeypatch.setenv("BEFT_WAIT_FOR_ROOM", "0")
    with pytest.raises(NoRoom):
        reporter.end("done")
    assert run.recorded().state == "failed"


def test_a_run_that_cannot_even_begin_to_report_does_not_begin(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Disk(monkeypatch).full = True
    with pytest.raises(NoRoom):
        Reporter(run, "cpu")


def test_a_broken_disk_is_not_taken_for_a_full_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Disk(monkeypatch, errno.EIO)
    reporter = Reporter(run, "cpu")
    full.full = True
    with pytest.raises(OSError, match="Input/output"):
        reporter.message("lost")


def test_measurements_that_somebody_removed_are_begun_anew(run: Run) -> None:
    reporter = Reporter(run, "cpu")
    reporter.message("before")
    run.metrics.unlink()
    reporter.message("after")
    assert [record["text"] for record in run.read_metrics()[0]] == ["after"]


def test_a_record_of_losses_is_their_mean_since_the_record_before(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reporter = Reporter(run, "cpu")
    clock = [reporter._stepped]
    monkeypatch.setattr(module.time, "time", lambda: clock[0])
    for step, losses in enumerate(([4.0, 1.0], [2.0, 1.0], [0.0, 7.0], [5.0, 5.0], [1.0, 3.0]), 1):
        clock[0] += 1.0 if step == 3 else 0.01  # records at the third step and, whatever the time, at the last
        reporter.step(step, 5, losses)
    records, _ = run.read_metrics()
    assert [(record["step"], record["loss"]) for record in records] == [(3, [2.0, 3.0]), (5, [3.0, 4.0])]
