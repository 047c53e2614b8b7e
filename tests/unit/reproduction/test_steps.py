"""What is left of a step, and what earlier steps give it, beside other jobs that take it over at the same moment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from reproduction_tools import finish, finish_comparison, row_of, without_data

from beft_core.comparison.folder import ComparisonFolder
from beft_core.reproduction.plan import Step, plan
from beft_core.reproduction.steps import adopt, count_failed, is_done, title, try_again, unfinished, waits_for
from beft_core.sweeps.rows import MEMORY_RAN_OUT, plan_columns
from beft_core.sweeps.spec import identity
from beft_core.sweeps.store import SweepFolder


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_data(monkeypatch, tmp_path)


def steps_of(tmp_path: Path, *names: str, **more: Any) -> tuple[Step, ...]:
    return plan(names, tmp_path / "out", models=["bundled"], small=True, **more).steps


def test_a_step_is_done_with_its_merges_and_a_comparison_with_its_result(tmp_path: Path) -> None:
    merged, compared, _ = steps_of(tmp_path, "table3", "table5")
    assert not is_done(merged) and not is_done(compared)
    finish(merged)
    assert unfinished(merged) == [] and not is_done(merged), "its merges are missing"
    SweepFolder(merged.folder).keep_merges([])
    finish_comparison(compared)
    assert is_done(merged) and is_done(compared)
    assert title(compared) == "Table 5 on bundled, demo-sentiment"
    other = next(step for step in steps_of(tmp_path, "table5", seeds=2) if step.folder == compared.folder)
    assert not is_done(other), "other settings are another comparison"


def test_a_lack_of_memory_is_tried_again_by_a_new_start_and_lost_snapshots_are_not(tmp_path: Path) -> None:
    figure, merged, compared, *_ = steps_of(tmp_path, "figure1", "table3", "table5")
    said: list[str] = []
    try_again((figure, merged, compared), said.append)
    assert not said and not figure.folder.exists(), "nothing began"
    finish(figure)
    finish_comparison(compared)
    finals = ComparisonFolder(compared.folder).finals
    assert is_done(figure) and is_done(compared), "no fine-tune has a snapshot"
    lacking = {"state": "failed", "failure": MEMORY_RAN_OUT}
    for folder, run in ((SweepFolder(figure.folder), figure.runs[0]), (finals, finals.spec().runs()[0])):
        (folder.rows / f"{identity(run)}.json").unlink()
        folder.save(plan_columns(run) | lacking, None)
    assert is_done(figure) and is_done(compared) and count_failed(figure) == 1
    count = compared.finished()
    try_again((figure, merged, compared), said.append)
    assert [one.partition(": 1 finished fine-tune will be trained again: memory")[1] != "" for one in said] == [
        True
    ] * 2
    assert not is_done(figure) and [identity(run) for run in unfinished(figure)] == [identity(figure.runs[0])]
    assert not is_done(compared) and compared.finished() == count - 1
    for folder, run in ((SweepFolder(figure.folder), figure.runs[0]), (finals, finals.spec().runs()[0])):
        folder.save(plan_columns(run) | lacking, None)
    assert is_done(figure) and is_done(compared), "tried once"


def test_what_another_step_still_trains_is_waited_for(tmp_path: Path) -> None:
    figure, table = steps_of(tmp_path, "figure1", "table3")
    assert waits_for(figure, []) is None and waits_for(table, [figure]) is figure
    shared = next(run for run in figure.runs if identity(run) in set(map(identity, table.runs)))
    SweepFolder(figure.folder).begin(figure.spec)  # type: ignore[arg-type]
    SweepFolder(figure.folder).save(row_of(shared), None)
    assert waits_for(table, [figure]) is None, "the rest of it is of no use to this one"
    adopt(table, [figure])
    assert identity(shared) not in set(map(identity, unfinished(table)))


def test_what_is_timed_waits_for_nobody(tmp_path: Path) -> None:
    timed, other = steps_of(tmp_path, "table2", "table4", seeds=1)[:2]
    assert timed.is_alone and set(map(identity, timed.runs)) & set(map(identity, other.runs))
    assert waits_for(other, [timed]) is None and waits_for(timed, [other]) is None


def test_two_jobs_may_take_over_the_same_snapshot_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure, table = steps_of(tmp_path, "figure1", "table3")
    finish(figure)
    for run in figure.runs:
        SweepFolder(figure.folder).snapshot(identity(run)).write_bytes(b"a snapshot")
    link = os.link

    def slow(source: Path, target: Path) -> None:
        if not target.exists():
            link(source, target)  # the other job's, between this one's two calls
        link(source, target)

    monkeypatch.setattr(os, "link", slow)
    unlinked: list[str] = []
    unlink = Path.unlink

    def noted(self: Path, missing_ok: bool = False) -> None:
        unlinked.append(self.name)
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", noted)
    adopt(table, [figure])
    (taken,) = set(map(identity, table.runs)) & set(map(identity, figure.runs))
    ours = SweepFolder(table.folder).snapshot(taken)
    assert ours.read_bytes() == b"a snapshot"
    assert ours.name not in unlinked, "a kill right after that would leave the other's row without it"


def test_what_a_killed_job_left_is_replaced(tmp_path: Path) -> None:
    figure, table = steps_of(tmp_path, "figure1", "table3")
    finish(figure)
    (taken,) = set(map(identity, table.runs)) & set(map(identity, figure.runs))
    theirs, ours = (SweepFolder(step.folder).snapshot(taken) for step in (figure, table))
    theirs.write_bytes(b"a snapshot")
    SweepFolder(table.folder).begin(table.spec)  # type: ignore[arg-type]
    ours.write_bytes(b"one that has no row")
    adopt(table, [figure])
    assert ours.read_bytes() == b"a snapshot"
