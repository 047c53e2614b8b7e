"""Share of a job in a reproduction, its training played: each fine-tune once, beside another job that trains too."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from reproduction_tools import finish_comparison, row_of, without_data

from beft_core.comparison.folder import ComparisonFolder
from beft_core.errors import UserError
from beft_core.execution.leaving import UNFINISHED, Leaving
from beft_core.execution.sweep_worker import Assignment
from beft_core.files.locks import hold
from beft_core.reproduction import share as module
from beft_core.reproduction.plan import Plan, Step, plan
from beft_core.reproduction.share import FAILED, _Share, share
from beft_core.sweeps.planning.staging import Missing
from beft_core.sweeps.sharing.workers import Heart
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_data(monkeypatch, tmp_path)
    monkeypatch.setenv("BEFT_CLAIM_SECONDS", "1")
    monkeypatch.setenv("BEFT_BEAT_SECONDS", "0.05")


Act = Callable[[Step, Assignment], bool]


class Jobs:
    """A reproduction that began, and what its job trains."""

    def __init__(self, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plan = plan
        self.act: Act = lambda step, given: False
        self.asked: list[tuple[str, bool]] = []
        """Sweeps that the job took its share of, and whether it waited for the others."""
        self.trained: list[str] = []
        for step in plan.steps:
            if isinstance(step.spec, SweepSpec):
                SweepFolder(step.folder).begin(step.spec)
        monkeypatch.setattr(module, "take_share", self.take_share)

    def take_share(self, folder: SweepFolder, observer: Any, leaving: Any, given: Assignment) -> Any:
        (step,) = (one for one in self.plan.steps if one.folder == folder.path)
        self.asked.append((step.experiment, given.wait))
        stopped = self.act(step, given)
        return SimpleNamespace(stopped=stopped)

    def finish(self, step: Step, count: int | None = None) -> None:
        """Train what is missing of a step, or so many."""
        folder = SweepFolder(step.folder)
        done = folder.finished(step.runs)
        for run in [one for one in step.runs if identity(one) not in done][:count]:
            self.trained.append(identity(run))
            folder.save(row_of(run), None)


def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> Jobs:
    return Jobs(plan(names, tmp_path / "out", models=["bundled"], small=True), monkeypatch)


def test_what_another_job_trains_is_waited_for_and_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = started(tmp_path, monkeypatch, "figure1", "figure4", "table1")

    def act(step: Step, given: Assignment) -> bool:
        assert (given.bank_size, given.workers) == (3, 6)
        # Two of Figure 1 are in the hands of another job, which has trained them when this one has waited.
        jobs.finish(step, 2 if step.experiment == "figure1" and not given.wait else None)
        return False

    jobs.act = act
    assert share(jobs.plan, Observer(), 6, bank_size=3) == 0
    assert jobs.asked == [("figure1", False), ("figure1", True), ("figure4", False), ("table1", False)]
    wanted = {identity(run) for step in jobs.plan.steps for run in step.runs}
    assert sorted(jobs.trained) == sorted(wanted), "each once"
    assert share(jobs.plan, Observer()) == 0 and len(jobs.asked) == 4


def test_a_job_leaves_what_is_in_the_hands_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = started(tmp_path, monkeypatch, "figure1")
    assert share(jobs.plan, Observer()) == 0 and jobs.asked == [("figure1", False)]


def test_one_that_cannot_run_stops_no_other_and_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = started(tmp_path, monkeypatch, "figure1", "figure4")

    def act(step: Step, given: Assignment) -> bool:
        if step.experiment == "figure1":
            raise UserError("got 3 layers")
        jobs.finish(step)
        return False

    jobs.act = act
    assert share(jobs.plan, Observer()) == FAILED
    assert jobs.asked == [("figure1", False), ("figure4", False)]
    assert len(jobs.trained) == len(jobs.plan.steps[1].runs)


def test_a_node_that_lacks_the_data_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = started(tmp_path, monkeypatch, "figure1", "figure4")
    first, second = jobs.plan.steps
    missing = Missing("sst2", "its data are not on this machine", "beft fetch")
    here = replace(jobs.plan, steps=(replace(first, spec=None, runs=(), missing=(missing,)), second))

    def act(step: Step, given: Assignment) -> bool:
        jobs.finish(step)
        return False

    jobs.act = act
    told: list[str] = []

    class Hears(Observer):
        def message(self, text: str) -> None:
            told.append(text)

    assert share(here, Hears()) == FAILED and jobs.asked == [("figure4", False)]
    assert told[0].endswith("cannot run on this node: sst2: its data are not on this machine")


def test_a_sweep_that_did_not_begin_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = started(tmp_path, monkeypatch, "figure1", "figure4")
    (jobs.plan.steps[0].folder / "sweep.json").unlink()

    def act(step: Step, given: Assignment) -> bool:
        jobs.finish(step)
        return False

    jobs.act = act
    assert share(jobs.plan, Observer()) == 0 and jobs.asked == [("figure4", False)]


def test_what_is_timed_is_trained_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = started(tmp_path, monkeypatch, "table2")
    sizes: list[int | None] = []

    def act(step: Step, given: Assignment) -> bool:
        sizes.append(given.bank_size)
        jobs.finish(step)
        return False

    jobs.act = act
    assert share(jobs.plan, Observer(), bank_size=8) == 0 and set(sizes) == {1}


def test_a_comparison_is_made_by_one_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = started(tmp_path, monkeypatch, "table5")
    first, second = jobs.plan.steps
    made: list[Path] = []

    def compare(spec: Any, folder: Path, observer: Observer, bank_size: int | None) -> Any:
        made.append(folder)
        finish_comparison(first if folder == first.folder else second)
        return SimpleNamespace(stopped=False)

    monkeypatch.setattr(module, "compare_methods", compare)
    first.folder.mkdir(parents=True)
    with hold(first.folder / "comparison", "the comparison"):
        assert share(jobs.plan, Observer()) == 0 and made == [second.folder]
    assert share(jobs.plan, Observer()) == 0 and made == [second.folder, first.folder]


@pytest.mark.parametrize("alive", [False, True])
def test_a_comparison_of_a_node_that_died_is_taken_over_once_its_lock_is_gone(
    alive: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFT_CLAIM_SECONDS", "60")
    jobs = started(tmp_path, monkeypatch, "table5")
    first, second = jobs.plan.steps
    finish_comparison(second)
    made: list[Path] = []

    def compare(spec: Any, folder: Path, observer: Observer, bank_size: int | None) -> Any:
        made.append(folder)
        finish_comparison(first)
        return SimpleNamespace(stopped=False)

    monkeypatch.setattr(module, "compare_methods", compare)
    folder = ComparisonFolder(first.folder)
    folder.prepare()
    folder.begin({})
    folder.trials.workers.mkdir(parents=True)
    heart = Heart.of_this_process(folder.trials.workers)
    heart.beat()
    with contextlib.ExitStack() as other:
        other.enter_context(hold(first.folder / "comparison", "the comparison"))
        monkeypatch.setattr(module.time, "sleep", lambda seconds: heart.beat() if alive else other.close())
        assert share(jobs.plan, Observer()) == 0
        assert made == ([] if alive else [first.folder])


def test_a_job_that_comes_second_to_a_comparison_has_not_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = started(tmp_path, monkeypatch, "table5")
    first, second = jobs.plan.steps
    held = contextlib.ExitStack()

    def compare(spec: Any, folder: Path, observer: Observer, bank_size: int | None) -> Any:
        if folder == second.folder:
            raise UserError("got 3 layers")
        folder.mkdir(parents=True)
        held.enter_context(hold(folder / "comparison", "the comparison"))  # another job, while this one read its data
        with hold(folder / "comparison", "the comparison"):
            pytest.fail("two jobs make it")

    monkeypatch.setattr(module, "compare_methods", compare)
    errors: dict[str, str] = {}
    with held:
        done = _Share(jobs.plan, Observer(), Leaving(), 1, None, errors).whole()
    assert not done and list(errors) == [second.folder.name], "the other could not be made by anybody"
    assert first.folder.is_dir()


def test_a_signal_ends_it_and_its_time_being_up_queues_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = started(tmp_path, monkeypatch, "figure1", "figure4")
    queued: list[int] = []
    monkeypatch.setattr("beft_core.execution.sweep_worker.queue_again", lambda: queued.append(1))

    def act(step: Step, given: Assignment) -> bool:
        os.kill(os.getpid(), signal.SIGUSR1)
        return True

    jobs.act = act
    assert share(jobs.plan, Observer()) == UNFINISHED
    assert queued == [1] and jobs.asked == [("figure1", False)]
