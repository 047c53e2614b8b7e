"""A run belongs to its executor: a scheduler of a cluster, played here, starts, answers for and ends it by a job id."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.execution import cancel as cancel_module
from beft_core.execution import start, worker
from beft_core.execution.cancel import cancel
from beft_core.execution.executors import Executor, executor_named, executor_of
from beft_core.execution.leaving import TIME_IS_UP, UNFINISHED
from beft_core.runs import about
from beft_core.runs.run import Run
from beft_core.runs.status import EXECUTORS, Status
from beft_core.training.observer import Observer


class Scheduler(Executor):
    """A cluster whose jobs are names in a table; the worker runs when :meth:`do` says so."""

    name = "played"

    def __init__(self) -> None:
        self.jobs: dict[str, str] = {}
        self.reachable = True

    def start(self, run: Run) -> None:
        job = f"job-{len(self.jobs) + 1}"
        self.jobs[job] = "pending"
        run.write_status(replace(run.recorded(), job=job, host="login-node"))

    def is_alive(self, run: Run, status: Status) -> bool | None:
        return self.jobs.get(status.job or "") in ("pending", "running") if self.reachable else None

    def stop(self, run: Run, status: Status, *, force: bool) -> None:
        self.jobs[str(status.job)] = "killed" if force else "terminated"

    def devices(self) -> tuple[str, ...]:
        return ("cuda",)


CLUSTER = Scheduler()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scheduler]:
    monkeypatch.setitem(EXECUTORS, "played", f"{__name__}:CLUSTER")
    CLUSTER.__init__()  # type: ignore[misc]
    yield CLUSTER


def quiet_for(run: Run, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(run.path / "status.json", (then, then))


def launched(root: Path) -> Run:
    return start.launch("train", RunConfig(device="cuda"), root, executor="played")


def test_a_run_of_a_scheduler_is_known_by_its_job(cluster: Scheduler, tmp_path: Path) -> None:
    run = launched(tmp_path)
    status = run.status()
    assert (status.state, status.executor, status.job, status.process) == ("queued", "played", "job-1", None)
    assert executor_of(run) is cluster and cluster.output(run) == run.log
    run.write_status(replace(status, created=1.0))  # it may wait for days
    assert run.status().state == "queued" and not (tmp_path / "queue").exists()
    cluster.jobs["job-1"] = "gone"
    assert run.status().state == "lost"


def test_its_worker_waits_for_no_device_and_keeps_the_job(
    cluster: Scheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = launched(tmp_path)
    monkeypatch.setattr(worker, "_listen_to_signals", lambda: None)
    seen: list[Status] = []

    def workflow(*_: object) -> tuple[None, dict[str, int]]:
        seen.append(run.recorded())
        return None, {"runs": 1}

    assert worker.work(run, workflow) == 0
    assert (seen[0].state, seen[0].executor, seen[0].job) == ("running", "played", "job-1")
    assert run.status().state == "done" and not (tmp_path / "queue").exists()


@pytest.mark.parametrize("stage", ["train", "tokenise"])
@pytest.mark.parametrize("cancelled", [False, True])
def test_when_the_time_of_its_job_is_nearly_up_it_is_queued_again_unless_it_was_cancelled(
    stage: str, cancelled: bool, cluster: Scheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = launched(tmp_path)
    queued: list[str] = []
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(worker, "_listen_to_signals", lambda: None)
    monkeypatch.setattr(worker, "queue_again", lambda: queued.append(run.recorded().state))
    before = {name: signal.getsignal(getattr(signal, name)) for name in TIME_IS_UP}

    def workflow(kind: str, fields: object, observer: Observer, checkpoint: Path) -> tuple[None, dict[str, int]]:
        observer.stage("train", 3)
        assert not observer.should_stop()
        os.kill(os.getpid(), signal.SIGUSR1)
        if cancelled:
            run.ask_cancel()
        observer.stage(stage) if stage != "train" else None
        assert observer.should_stop()
        return None, {"runs": 1}

    try:
        status = worker.work(run, workflow)
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
    after = run.recorded()
    assert after.job == "job-1"
    if cancelled:
        assert (status, after.state, queued) == (1, "cancelled", [])
    else:
        assert (status, after.state, after.process, queued) == (UNFINISHED, "queued", None, ["queued"])
        assert "its job was up" in str(after.message) and not run.result.exists()


@pytest.mark.parametrize(("age", "state"), [(5.0, "pending"), (10.0, "terminated"), (20.0, "killed")])
def test_ending_it_goes_through_the_scheduler(
    cluster: Scheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: float, state: str
) -> None:
    run = launched(tmp_path)
    monkeypatch.setattr(Run, "cancel_age", lambda run: age)
    monkeypatch.setattr(cancel_module, "TERMINATE_AFTER", 8.0)
    monkeypatch.setattr(cancel_module, "KILL_AFTER", 16.0)
    cancel(run)
    assert cluster.jobs == {"job-1": state} and run.status().state == ("cancelling" if age == 5 else "cancelled")


def test_it_is_started_again_by_the_same_executor(cluster: Scheduler, tmp_path: Path) -> None:
    run = launched(tmp_path)
    cluster.jobs["job-1"] = "gone"
    run.write_status(replace(run.recorded(), created=1.0))
    start.resume(run)
    assert (run.status().state, run.status().job) == ("queued", "job-2")
    with pytest.raises(UserError, match="is queued"):
        about.delete(run)


def test_where_a_scheduler_cannot_be_asked_the_sign_of_life_counts(cluster: Scheduler, tmp_path: Path) -> None:
    run = launched(tmp_path)
    cluster.reachable = False
    run.write_status(replace(run.recorded(), created=1.0))
    assert run.status().state == "queued"
    quiet_for(run, 3600)
    status = run.status()
    assert status.state == "lost" and "login-node has given no sign of life for 60 minutes" in str(status.message)


def test_what_an_executor_does_not_have_is_refused(cluster: Scheduler, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="got --device cpu; expected one of cuda"):
        start.launch("train", RunConfig(device="cpu"), tmp_path, executor="played")
    with pytest.raises(UserError, match="got the executor 'moon'; expected one of local, slurm, played"):
        executor_named("moon")
    assert not (tmp_path / "runs").exists()


def test_a_run_of_an_executor_of_a_later_version_is_shown_by_its_signs_of_life(
    tmp_path: Path,
) -> None:
    run = Run.create("train", {"device": "cuda"}, tmp_path)
    run.write_status(replace(run.recorded(), state="running", executor="moon", created=1.0, host="crater"))
    assert run.status().state == "running"
    cancel(run)
    assert run.status().state == "cancelling"
    with pytest.raises(UserError, match="is cancelling"):
        about.delete(run)
    quiet_for(run, 601)
    assert run.status().state == "cancelled"
