"""Whether a run is alive: asked of processes on this machine, of locks and signs of life on another one."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from beft_core.execution import cancel as cancel_module
from beft_core.execution.cancel import cancel
from beft_core.execution.local import LOCAL
from beft_core.execution.queue import Queue
from beft_core.files.locks import hold
from beft_core.process_id import ProcessId, host_name
from beft_core.runs.run import BEAT_SECONDS, SILENCE_SECONDS, Run
from beft_core.runs.status import Status

HERE = ProcessId.of(psutil.Process())
FAR = ProcessId(HERE.pid, HERE.started, "another boot", HERE.ticks)
"""A process of another machine, with the number of this one."""


def running(root: Path, process: ProcessId, host: str | None) -> Run:
    run = Run.create("train", {"device": "cpu"}, root)
    run.write_status(Status("running", created=1.0, began=2.0, process=process, host=host, stage="train"))
    return run


def quiet_for(run: Run, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(run.path / "status.json", (then, then))


def test_a_process_of_this_machine_is_looked_for(tmp_path: Path) -> None:
    for host in (None, host_name()):
        assert running(tmp_path, HERE, host).status().state == "running"
        gone = running(tmp_path, replace(HERE, started=1.0, ticks=1), host)
        assert gone.status().state == "lost" and "vanished during “train”" in str(gone.status().message)


def test_a_process_id_of_another_machine_says_nothing(tmp_path: Path) -> None:
    """Neither is the run lost because no such process is here, nor alive because there is one."""
    run = running(tmp_path, replace(FAR, pid=2**22 - 1), "far-away")
    assert run.status().state == "running" and run.status().elsewhere == "far-away"
    quiet_for(run, SILENCE_SECONDS - 60)
    assert run.status().state == "running"
    run.give_sign_of_life()
    assert run.silence() < 5 and BEAT_SECONDS * 10 < SILENCE_SECONDS
    run = running(tmp_path, FAR, "far-away")
    quiet_for(run, 1500)
    status = run.status()
    assert status.state == "lost"
    assert str(status.message).startswith("The worker on far-away has given no sign of life for 25 minutes")


def test_a_lock_that_the_disk_passes_on_is_a_sign_of_life(tmp_path: Path) -> None:
    run = running(tmp_path, ProcessId(7, 1.0, "another boot", 1), "far-away")
    quiet_for(run, 1500)
    with hold(run.working, "the run"):
        assert run.status().state == "running"
    assert run.status().state == "lost"


def test_in_another_container_of_this_machine_the_lock_decides_at_once(tmp_path: Path) -> None:
    run = running(tmp_path, replace(HERE, pid=7), "container")
    if HERE.boot is None:
        pytest.skip("this system names no boot")
    assert LOCAL.is_alive(run, run.recorded()) is False and run.status().state == "lost"
    with hold(run.working, "the run"):
        assert run.status().state == "running"


def test_cancelling_never_touches_a_process_of_the_same_number_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hit: list[str] = []
    monkeypatch.setattr(psutil.Process, "terminate", lambda self: hit.append("terminate"))
    monkeypatch.setattr(psutil.Process, "kill", lambda self: hit.append("kill"))
    monkeypatch.setattr(Run, "cancel_age", lambda run: 9.0)
    monkeypatch.setattr(cancel_module, "TERMINATE_AFTER", 8.0)
    monkeypatch.setattr(cancel_module, "KILL_AFTER", 16.0)
    far = running(tmp_path, FAR, "far-away")
    cancel(far)
    assert hit == [] and far.status().state == "cancelling"
    cancel(running(tmp_path, HERE, host_name()))
    assert hit == ["terminate"]


def test_runs_of_another_machine_take_no_place_in_this_ones_queue(tmp_path: Path) -> None:
    queue = Queue("cpu", tmp_path)
    far, near = running(tmp_path, FAR, "far-away"), running(tmp_path, HERE, host_name())
    queue.join(far)
    queue.join(near)
    assert queue.waiting() == [near.id]
    assert (tmp_path / "queue" / "cpu" / far.id).exists()  # its own machine takes it away


def test_a_status_of_an_earlier_version_is_of_this_machine(tmp_path: Path) -> None:
    run = Run.create("train", {"device": "cpu"}, tmp_path)
    (run.path / "status.json").write_text('{"state": "running", "created": 1.0, "process": {"pid": 1, "started": 2.0}}')
    status = run.recorded()
    assert (status.executor, status.host, status.job, status.elsewhere) == ("local", None, None, None)
    assert run.status().state == "lost"
