"""Reproduction as jobs: what is submitted, how its end is waited for, and what is said where jobs end early."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from reproduction_tools import finish, finish_comparison, row_of, without_data

from beft_core.cli.progress import POLITE
from beft_core.errors import UserError
from beft_core.execution.clusters import submission
from beft_core.execution.clusters.settings import Cluster
from beft_core.reproduction import jobs as module
from beft_core.reproduction.jobs import Jobs
from beft_core.reproduction.plan import plan
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer

WORDS = ("reproduce", "figure1", "--small")


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_data(monkeypatch, tmp_path)
    monkeypatch.setattr(submission, "LOOK_SECONDS", 0.01)


def jobs_of(tmp_path: Path, *names: str, cluster: Cluster = Cluster(gpus=0)) -> Jobs:
    return Jobs(plan(names, tmp_path / "out", models=["bundled"], small=True), cluster, WORDS)


def test_there_are_as_many_jobs_as_there_is_work_and_each_says_for_how_many_it_plans(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, "figure1", "figure4", cluster=Cluster(gpus=2, max_jobs=5))
    assert jobs.missing == 48, "what both want counts once"
    assert jobs.jobs == 5 and jobs.command[-6:] == ["beft_core", *WORDS, "--share", "10"]
    finish(jobs.plan.steps[1])
    fewer = Jobs(jobs.plan, jobs.cluster, WORDS)
    assert [step.experiment for step in fewer.left()] == ["figure1"]
    assert (jobs_of(tmp_path / "b", "figure1").jobs, jobs.missing) == (1, 48)


def test_every_sweep_begins_where_the_command_is_given(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, "figure1", "table3", "table5")
    jobs.begin(Observer())
    for step in jobs.plan.steps:
        assert (step.folder / "sweep.json").is_file() == (step.comparison is None)
    assert jobs.folder.is_dir(), "where a job cannot write, Slurm ends it"
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        Jobs(plan(["figure1"], tmp_path / "file", models=["bundled"], small=True), jobs.cluster, WORDS).begin(
            Observer()
        )


def test_a_step_that_cannot_begin_is_left_out_and_the_others_are_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_of(tmp_path, "figure1", "figure4")
    first, second = jobs.plan.steps
    first.folder.mkdir(parents=True)
    (first.folder / "notes.txt").touch()
    told: list[str] = []

    class Hears(Observer):
        def message(self, text: str) -> None:
            told.append(text)

    left_out = jobs.begin(Hears())
    assert list(left_out) == [first.folder.name] and "notes.txt" in told[0]
    assert SweepFolder(second.folder).began and not SweepFolder(first.folder).began
    monkeypatch.setattr(submission, "queued", lambda job: True)
    monkeypatch.setattr(module, "cancel", lambda job, waiting: None)
    finish(second)
    done = jobs.wait("41", Observer(), left_out)
    assert done.errors == left_out and not done.stopped, "what did not begin is not waited for"
    (second.folder / "sweep.json").unlink()
    with pytest.raises(UserError):
        jobs_of(tmp_path, "figure1").begin(Observer())


def test_it_waits_for_rows_merges_and_comparisons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = jobs_of(tmp_path, "table3", "table5")
    merged, *compared = jobs.plan.steps
    jobs.begin(Observer())
    missing = jobs.missing
    bad = {**row_of(merged.runs[0]), "state": "failed", "failure": "the loss is not a number"}
    acts: Iterator[Callable[[], object]] = iter(
        [
            lambda: SweepFolder(merged.folder).save(bad, None),
            lambda: finish(merged),
            lambda: [finish_comparison(step) for step in compared],
            lambda: SweepFolder(merged.folder).keep_merges([]),
        ]
    )

    def asked(job: str) -> bool:
        next(acts)()
        return True

    ended: list[str] = []
    monkeypatch.setattr(submission, "queued", asked)
    monkeypatch.setattr(module, "cancel", lambda job, waiting: ended.append(job))
    done = jobs.wait("41", Observer())
    assert next(acts, None) is None and ended == ["41"], "those that wait would find nothing to do"
    assert (done.trained, done.failed, done.errors, done.stopped) == (
        missing - sum(len(line.ready) for line in jobs.plan.lines()),
        1,
        {},
        False,
    )


def test_jobs_that_are_gone_are_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = jobs_of(tmp_path, "figure1", "table3", "table5")
    jobs.begin(Observer())
    finish(jobs.plan.steps[1])
    monkeypatch.setattr(submission, "queued", lambda job: False)
    done = jobs.wait("41", Observer())
    assert not done.stopped and list(done.errors) == [step.folder.name for step in jobs.plan.steps]
    figure, table, comparison, _ = done.errors.values()
    assert "job 41 has ended, and 4 fine-tunes are missing" in figure
    assert "the merges are missing" in table and "methods are missing" in comparison
    assert str(jobs.folder) in figure


def test_ctrl_c_leaves_the_jobs_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages: list[tuple[str, int | None]] = []

    class Stopping(Observer):
        def stage(self, name: str, total: int | None = None) -> None:
            stages.append((name, total))

        def should_stop(self) -> bool:
            return True

    jobs = jobs_of(tmp_path, "figure1")
    (step,) = jobs.plan.steps
    here = replace(step, runs=step.runs[:3])  # the data of another task are not
    jobs = replace(jobs, plan=replace(jobs.plan, steps=(here,)))
    jobs.begin(Observer())
    monkeypatch.setattr(module, "cancel", lambda *_, **__: pytest.fail("they go on"))
    done = jobs.wait("41", Stopping())
    assert done.stopped and done.errors == {} and done.trained == 0
    ((name, total),) = stages
    assert total == 3, "what nobody can train is not waited for"
    assert name in POLITE, "a first Ctrl-C ends the wait and not the command"
