"""A worker of a sweep, its training played: it leaves by a signal, with its parent, and is queued again in time."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from beft_core.errors import UserError
from beft_core.execution import fleet, sweep_worker
from beft_core.execution.fleet import Place
from beft_core.execution.leaving import UNFINISHED
from beft_core.execution.sweep_worker import Assignment, work
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.sharing.workers import workers_in
from beft_core.sweeps.spec import SweepSpec
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    made = SweepFolder(tmp_path / "sweep")
    made.begin(SweepSpec.from_dict({"terms": ["v"], "n_train": 8}))
    return made


def play(monkeypatch: pytest.MonkeyPatch, act: Callable[[Observer], bool]) -> dict[str, Any]:
    """Replace training by an act, which says whether it was stopped; returns what it was called with."""
    called: dict[str, Any] = {}

    def run_sweep(spec: Any, folder: Any, observer: Observer, **how: Any) -> Any:
        called.update(how)
        observer.stage("train", 10)
        with how["sharing"].heart:
            return SimpleNamespace(stopped=act(observer))

    monkeypatch.setitem(sys.modules, "beft_core.sweeps.runner", SimpleNamespace(run_sweep=run_sweep))
    return called


def waits(observer: Observer) -> bool:
    deadline = time.monotonic() + 60
    while not observer.should_stop() and time.monotonic() < deadline:
        time.sleep(0.01)
    return True


def test_it_does_its_share_and_says_who_it_is(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    called = play(monkeypatch, lambda observer: False)
    assert work(folder, Observer(), Assignment(3, Kept(snapshots=False), workers=7, device="cuda:1")) == 0
    assert (called["bank_size"], called["keep"]) == (3, Kept(snapshots=False))
    assert (called["sharing"].workers, called["sharing"].wait) == (7, False)
    assert called["sharing"].joins, "a grid that has grown since is not written over"
    (seen,) = workers_in(folder.workers)
    assert (seen.device, seen.job, seen.state) == ("cuda:1", "42", "ended")


@pytest.mark.parametrize(("name", "again"), [("SIGTERM", False), ("SIGUSR1", True), ("SIGUSR2", True)])
def test_a_signal_ends_it_and_its_time_being_up_queues_it_again(
    name: str, again: bool, folder: SweepFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued = tmp_path / "queued"
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {queued}\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "42")

    def act(observer: Observer) -> bool:
        os.kill(os.getpid(), getattr(signal, name))
        return waits(observer)

    play(monkeypatch, act)
    assert work(folder, Observer(), requeue=True) == UNFINISHED
    assert queued.exists() == again and (not again or queued.read_text() == "requeue 42\n")
    queued.unlink(missing_ok=True)
    assert work(folder, Observer()) == UNFINISHED and not queued.exists()  # only where it was asked for


def test_on_a_machine_of_several_gpus_it_is_one_worker_for_each(
    folder: SweepFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = [Place(f"cuda:{number}", {"CUDA_VISIBLE_DEVICES": str(number)}) for number in range(2)]
    monkeypatch.setattr(sweep_worker, "places", lambda spec: two)
    monkeypatch.setattr(fleet, "WATCH_SECONDS", 0.05)
    started: list[list[str]] = []
    child = "import os, pathlib, sys; pathlib.Path(sys.argv[1], os.environ['CUDA_VISIBLE_DEVICES']).touch()"

    def command_of(folder: SweepFolder, place: Place, count: int, options: list[str]) -> list[str]:
        started.append([place.name, str(count), *options])
        return [sys.executable, "-c", child, str(tmp_path)]

    monkeypatch.setattr(fleet, "command_of", command_of)
    play(monkeypatch, lambda observer: pytest.fail("each GPU has a process of its own"))
    unless = tmp_path / "cancel"
    kept = Kept(snapshots=False, predictions=True, refusals=True)
    assert work(folder, Observer(), Assignment(3, kept, workers=6, unless=unless)) == 0
    options = ["--bank-size", "3", "--no-snapshots", "--predictions", "--refusals", "--unless", str(unless)]
    assert started == [["cuda:0", "6", *options], ["cuda:1", "6", *options]], "those of other jobs count in the plan"
    assert (tmp_path / "0").exists() and (tmp_path / "1").exists()
    play(monkeypatch, lambda observer: False)
    assert work(folder, Observer(), Assignment(parent=os.getppid())) == 0, "one of them starts no further ones"


def test_it_leaves_when_its_parent_is_gone(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_BEAT_SECONDS", "0.05")
    play(monkeypatch, waits)
    assert work(folder, Observer(), Assignment(parent=os.getppid() + 1)) == UNFINISHED


def test_it_leaves_when_it_is_not_wanted_any_more(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_BEAT_SECONDS", "0.05")
    cancelled = folder.path.parent / "cancel"

    def act(observer: Observer) -> bool:
        assert not observer.should_stop()
        cancelled.touch()
        return waits(observer)

    play(monkeypatch, act)
    assert work(folder, Observer(), Assignment(unless=cancelled)) == UNFINISHED
    play(monkeypatch, lambda observer: pytest.fail("a job that waited in the queue meanwhile begins nothing"))
    assert work(folder, Observer(), Assignment(unless=cancelled)) == UNFINISHED


def test_where_no_sweep_began_there_is_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sweep\.json"):
        work(SweepFolder(tmp_path), Observer())
    assert not list(tmp_path.iterdir())


def test_a_job_of_an_array_has_the_number_of_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert sweep_worker.job_id() is None
    monkeypatch.setenv("SLURM_JOB_ID", "43")
    assert sweep_worker.job_id() == "43"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "41")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert sweep_worker.job_id() == "41_2"


def test_where_slurm_does_not_answer_it_ends_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    sweep_worker.queue_again()
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nexec sleep 60\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    monkeypatch.setattr(sweep_worker, "REQUEUE_SECONDS", 1.0)
    sweep_worker.queue_again()
    assert (tmp_path / "asked").exists()
