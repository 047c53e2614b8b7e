"""The order of the queue, without a worker and without a clock: who takes the device, and who must not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest

from beft_core.errors import UserError
from beft_core.execution import queue as module
from beft_core.execution.queue import Queue
from beft_core.process_id import ProcessId
from beft_core.runs import run as directory
from beft_core.runs.run import Run
from beft_core.runs.status import Status


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.0)


def waiting(root: Path, queue: Queue, created: float = 1.0) -> Run:
    """A run that waits in a queue; its worker is the process of this test."""
    run = Run.create("train", {"device": "cpu"}, root)
    run.write_status(Status("queued", created=created, process=ProcessId.of(psutil.Process())))
    queue.join(run)
    return run


def polls(number: int) -> Callable[[], bool]:
    """Says to stop after so many looks at the queue."""
    left = [number]

    def stop() -> bool:
        left[0] -= 1
        return left[0] < 0

    return stop


def test_a_free_device_is_not_taken_before_ones_turn(tmp_path: Path) -> None:
    """The device is free, but the run before has not looked yet: under load that may take it seconds."""
    queue = Queue("cpu", tmp_path)
    first, second, third = (waiting(tmp_path, queue) for _ in range(3))
    for run, ahead in ((third, [2]), (second, [1])):
        told: list[int] = []
        with Queue("cpu", tmp_path).turn(run, polls(5), told.append) as ours:
            assert not ours
        assert told == ahead
        queue.join(run)
    with Queue("cpu", tmp_path).turn(first, polls(5), lambda ahead: None) as ours:
        assert ours


def test_ones_turn_does_not_come_before_the_device_is_free(tmp_path: Path) -> None:
    queue = Queue("cpu", tmp_path)
    first = waiting(tmp_path, queue)
    with Queue("cpu", tmp_path).turn(first, polls(5), lambda ahead: None) as ours:
        assert ours
        queue.leave(first)  # as if somebody had taken it for ended
        second = waiting(tmp_path, queue)
        told: list[int] = []
        with Queue("cpu", tmp_path).turn(second, polls(5), told.append) as too:
            assert not too
        assert told == [1]


def test_order_is_that_of_launching_whatever_the_clock_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run is created an hour before the one that was launched before it."""
    now = datetime.now()

    class Backwards(datetime):
        launched = 0

        @classmethod
        def now(cls) -> datetime:  # type: ignore[override]
            cls.launched += 1
            return now - timedelta(hours=cls.launched)

    monkeypatch.setattr(directory, "datetime", Backwards)
    queue = Queue("cpu", tmp_path)
    runs = [waiting(tmp_path, queue, created=1e9 - i) for i in range(12)]  # more than nine: numbers are no texts
    assert [run.id for run in runs] == sorted((run.id for run in runs), reverse=True)
    assert queue.waiting() == [run.id for run in runs]
    queue.join(runs[3])  # again: it keeps its place
    assert queue.waiting() == [run.id for run in runs]


def test_tickets_of_earlier_versions_come_first_by_creation(tmp_path: Path) -> None:
    queue = Queue("cpu", tmp_path)
    old = [waiting(tmp_path, queue) for _ in range(3)]
    new = waiting(tmp_path, queue)
    for run in old:
        (tmp_path / "queue" / "cpu" / run.id).write_bytes(b"")
    assert queue.waiting() == [*(run.id for run in old), new.id]


@pytest.mark.parametrize("damage", [b"x", b"-5", b"9" * 100, b"\xff", "a pipe", "a folder"])
def test_a_damaged_ticket_stops_nobody(damage: bytes | str, tmp_path: Path) -> None:
    queue = Queue("cpu", tmp_path)
    first, second = waiting(tmp_path, queue), waiting(tmp_path, queue)
    ticket = tmp_path / "queue" / "cpu" / first.id
    ticket.unlink()
    if isinstance(damage, bytes):
        ticket.write_bytes(damage)
    else:
        os.mkfifo(ticket) if damage == "a pipe" else ticket.mkdir()
    assert queue.waiting() == [first.id, second.id]
    first.write_status(Status("done", created=1.0))
    assert queue.waiting() == [second.id]


def test_places_are_given_out_one_at_a_time(tmp_path: Path) -> None:
    """Four processes at once: no two get the same number."""
    runs = [Run.create("train", {"device": "cpu"}, tmp_path) for _ in range(4)]
    code = (
        "import sys; from pathlib import Path; from beft_core.runs.run import Run\n"
        "from beft_core.execution.queue import Queue\n"
        "input(); Queue('cpu', Path(sys.argv[1])).join(Run(Path(sys.argv[2])))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(run.path)], stdin=subprocess.PIPE)
        for run in runs
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    assert [process.wait(60) for process in started] == [0] * 4
    numbers = sorted(int((tmp_path / "queue" / "cpu" / run.id).read_text()) for run in runs)
    assert numbers == list(range(1, 5))


def test_a_ticket_that_was_taken_away_does_not_let_a_run_push_in(tmp_path: Path) -> None:
    queue = Queue("cpu", tmp_path)
    first, second = waiting(tmp_path, queue), waiting(tmp_path, queue)
    stop = polls(5)

    def look() -> bool:
        queue.leave(second)
        return stop()

    with Queue("cpu", tmp_path).turn(second, look, lambda ahead: None) as ours:
        assert not ours
    assert queue.waiting()[0] == first.id


@pytest.mark.parametrize("device", ["../..", "", "/tmp", "a" * 200, "CPU", ".", "x/y", "\0"])
def test_a_device_never_becomes_a_path(device: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the name of a device"):
        Queue(device, tmp_path)


def test_a_home_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    run = Run.create("train", {}, tmp_path)
    (tmp_path / "queue").write_text("a file")
    with pytest.raises(UserError, match="cannot create"):
        Queue("cpu", tmp_path).join(run)
