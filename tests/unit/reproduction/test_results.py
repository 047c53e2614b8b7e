"""Rows of several sweeps as one table."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_tools import entry
from reproduction_tools import finish, finish_all, replace, row_of, without_data

from beft_core.reproduction.plan import Plan, plan
from beft_core.reproduction.results import merges_of, of_experiment, rows_of
from beft_core.sweeps.spec import identity
from beft_core.sweeps.table import COLUMNS


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    without_data(monkeypatch, tmp_path)
    return plan(["figure4", "table2"], tmp_path, models=["bundled"], small=True, seeds=1)


def test_sizes_of_a_rehearsal_are_named_after_what_they_stand_for(planned: Plan) -> None:
    finish_all(planned)
    rows = rows_of(planned.steps)
    assert list(rows.columns) == list(COLUMNS)
    assert {(row.n_train, row.regime) for row in rows.itertuples()} == {
        (32, "low"),
        (48, "medium"),
        (64, "high"),
        (96, "all"),
    }


def test_a_fine_tune_that_was_trained_twice_counts_once(planned: Plan, tmp_path: Path) -> None:
    both = plan(["table2", "table4"], tmp_path, models=["bundled"], small=True, seeds=1)
    alone, shared = both.steps[0], both.steps[1]
    finish(alone, lambda run: 0.1)
    finish(shared, lambda run: 0.9)
    rows = rows_of([alone, shared])
    assert rows["run"].is_unique
    twice = {identity(run) for run in alone.runs} & {identity(run) for run in shared.runs}
    assert twice and set(rows[rows["run"].isin(twice)]["value"]) == {0.9}, "that of the pass with others"
    lost = next(run for run in shared.runs if identity(run) in twice)
    replace(shared, {**row_of(lost), "state": "failed", "value": None})
    kept = rows_of([alone, shared]).set_index("run")
    assert kept.loc[identity(lost), "value"] == 0.1, "that of the pass has failed"


def test_nothing_finished_is_an_empty_table(planned: Plan) -> None:
    rows = rows_of(planned.steps)
    assert rows.empty and list(rows.columns) == list(COLUMNS)
    assert merges_of(planned.steps) is None


def test_merges_of_all_steps_and_a_damaged_file_hides_none(planned: Plan, tmp_path: Path) -> None:
    import json

    for step, text in zip(planned.steps, (json.dumps([entry()]), "{"), strict=True):
        step.folder.mkdir(parents=True)
        (step.folder / "merges.json").write_text(text)
    (merge,) = merges_of(planned.steps) or ()
    assert merge.tasks == ("sst2", "rte")


def test_the_steps_of_an_experiment(planned: Plan) -> None:
    assert [step.experiment for step in of_experiment(planned, "table2")] == ["table2"]
