"""Means over seeds and the choice of the learning rate, against means that the standard library takes."""

from __future__ import annotations

import statistics

import numpy as np
import pandas as pd
import pytest
from report_tools import LRS, cell, scattered, selects
from sweep_tables import make_results

from beft_core.errors import UserError
from beft_core.reports import tables
from beft_core.reports.seed_means import Runs


@pytest.fixture(scope="module")
def results() -> pd.DataFrame:
    """Two tasks and regimes at three learning rates with scattered metrics."""
    return make_results(lrs=LRS, add=scattered)


def by_hand(results: pd.DataFrame, task: str, regime: str, trains: str) -> dict[float, list[float]]:
    """Learning rate -> metrics of the seeds, in percent, without pandas."""
    found: dict[float, list[float]] = {}
    for row in results.to_dict("records"):
        if (row["task"], row["regime"], row["trains"], row["state"]) == (task, regime, trains, "done"):
            found.setdefault(row["lr"], []).append(100 * row["value"])
    return found


@pytest.mark.parametrize("regime", ["low", "medium"])
@pytest.mark.parametrize("task", ["sst2", "rte"])
def test_means_at_the_best_learning_rate(results: pd.DataFrame, task: str, regime: str) -> None:
    table = tables.table1(results)
    for term in ("v", "q", "k"):
        values = by_hand(results, task, regime, term)
        best = max(values, key=lambda lr: statistics.mean(values[lr]))
        found = cell(table, regime, f"b_{term}", column=task)
        assert found.ours == pytest.approx(statistics.mean(values[best]))
        assert found.spread == pytest.approx(statistics.stdev(values[best]))
        assert (found.lr, found.seeds, found.failed, found.reason) == (best, 3, 0, "")


def test_the_same_learning_rate_is_that_of_v() -> None:
    # q is best at 1e-4, v at 1e-2.
    results = make_results(lrs=LRS, add=lambda run: 0.3 if run[2] == "q" and run[3] == 1e-4 else 0.0)
    best, same, given = (tables.table1(results, lr=lr) for lr in ("best", "same", 1e-3))
    assert [cell(t, "low", "b_q", column="rte").lr for t in (best, same, given)] == [1e-4, 1e-2, 1e-3]
    assert [cell(t, "low", "b_v", column="rte").lr for t in (best, same, given)] == [1e-2, 1e-2, 1e-3]
    assert cell(same, "low", "b_q", column="rte").ours == pytest.approx(71)
    for table, words in ((best, "own mean"), (same, "b_v has its best"), (given, "0.001")):
        assert words in table.notes[0]


def test_equal_means_take_the_smaller_learning_rate() -> None:
    results = make_results(lrs=(1e-3, 1e-2), add=lambda run: 0.05 if run[3] == 1e-3 else 0.0)
    results["value"] = results["value"].round(6)
    assert cell(tables.table1(results), "low", "b_v", column="rte").lr == 1e-3


def test_a_seed_that_stands_twice_counts_once() -> None:
    results = make_results(seeds=(0, 2))
    twice = results[(results["trains"] == "v") & (results["seed"] == 0)]
    found = cell(tables.table1(pd.concat([results, twice, twice])), "low", "b_v", column="rte")
    assert (found.ours, found.seeds) == (pytest.approx(81), 2)


def test_one_seed_has_no_spread() -> None:
    found = cell(tables.table1(make_results(seeds=(0,))), "low", "b_v", column="sst2")
    assert (found.ours, found.spread, found.seeds) == (pytest.approx(80), None, 1)


def test_failed_runs_enter_no_mean_and_are_counted() -> None:
    results = make_results(failed=lambda run: run[0] == "rte" and run[2] == "q" and run[4] == 2)
    # Even if a failure left a number behind.
    results.loc[results["state"] == "failed", "value"] = 0.99
    table = tables.table1(results)
    found = cell(table, "low", "b_q", column="rte")
    assert (found.ours, found.seeds, found.failed) == (pytest.approx(70.5), 2, 2)
    assert cell(table, "low", "b_q", column="sst2").failed == 0
    assert "4 of 168 fine-tunes failed and enter no mean (the loss is not a number)" in table.notes


def test_fewer_seeds_at_the_chosen_learning_rate_are_told() -> None:
    results = make_results(failed=lambda run: run[2] == "q" and run[3] == 1e-2 and run[4] == 0)
    assert cell(tables.table1(results), "low", "b_q", column="rte").note == "only 2 of 3 seeds"


def test_the_dagger_is_the_majority_of_the_seeds() -> None:
    table = tables.table1(make_results(selects=selects({0: "q", 1: "v", 2: "q"})))
    assert cell(table, "low", "b_q", column="rte").dagger
    assert cell(table, "low", "b_q", column="rte").note == "selected by 2 of 3 probes at 0.01"
    assert not cell(table, "low", "b_v", column="rte").dagger


def test_a_tie_of_the_probes_marks_nothing() -> None:
    table = tables.table1(make_results(seeds=(0, 1), selects=selects({0: "q", 1: "v"})))
    assert not table.frame()["dagger"].any()


def test_the_dagger_is_read_at_the_learning_rate_of_the_choice() -> None:
    results = make_results(selects=selects({0: "v", 1: "v", 2: "v"}, lr=1e-2))
    assert cell(tables.table1(results), "low", "b_v", column="rte").dagger
    assert cell(tables.table1(results, lr=1e-3), "low", "b_k", column="rte").dagger
    # Probes with a grid of their own: those of all learning rates.
    results.loc[results["trains"] == "all", "lr"] /= 7
    found = cell(tables.table1(results, lr=1e-3), "low", "b_v", column="rte")
    assert not found.dagger  # three for v, three for k


def test_probes_that_moved_nothing_select_nothing() -> None:
    results = make_results()
    results["selected.projection_ratio"] = np.nan
    assert not tables.table1(results).frame()["dagger"].any()


def test_regimes_without_a_name_are_called_by_their_size() -> None:
    results = make_results(regimes=("medium",))
    results["regime"] = None
    table = tables.table1(results.assign(n_train=[500, 64] * (len(results) // 2)))
    names = list(dict.fromkeys(row.labels[0] for row in table.rows))
    assert names == ["low", "medium", "high", "64 examples", "500 examples"]


def test_tables_of_two_sweeps_that_are_put_together_are_told() -> None:
    one = make_results()
    other = one.assign(run=[f"{run[:-1]}x" for run in one["run"]])  # of other layers, which no column says
    (said,) = (note for note in tables.table1(pd.concat([one, other])).notes if "seeds stand for" in note)
    count = len(one[one["state"] == "done"])
    assert said.startswith(f"{count:,} seeds stand for several fine-tunes each")
    for alone in (one, pd.concat([one, one])):  # the same fine-tunes twice are still the same
        assert not any("seeds stand for" in note for note in tables.table1(alone).notes)


def test_what_a_reader_must_know() -> None:
    results = make_results(null="k")
    results.loc[results["seed"] == 1, "epochs"] = 9
    notes = tables.table1(results).notes
    assert "b_k is certified null on this model: alone it moves nothing but the head and a bias of the pooler" in notes
    assert "some means are over fine-tunes that differ in epochs" in notes
    assert not any("null" in note or "differ in" in note for note in tables.table1(make_results()).notes)
    both = pd.concat([make_results(), make_results().assign(n_train=64)])  # of a rehearsal, under the same name
    assert "some means are over fine-tunes that differ in the number of training examples" in tables.table1(both).notes


def test_the_model_with_most_runs_comes_first() -> None:
    results = pd.concat([make_results(seeds=(0,)), make_results(model="google-bert/bert-base-cased")])
    assert Runs(results).models == ["google-bert/bert-base-cased", "bundled"]
    assert "bert-base-cased" in tables.table1(results).ours
    assert cell(tables.table1(results, "bundled"), "low", "b_v", column="rte").seeds == 1


def test_a_table_without_rows_is_refused() -> None:
    with pytest.raises(UserError, match="without rows"):
        tables.table1(make_results().head(0))


@pytest.mark.parametrize("column", ["value", "lr", "seed", "n_train", "seconds"])
def test_words_where_numbers_belong_are_refused(column: str) -> None:
    results = make_results().astype({column: object})
    results.loc[3, column] = "many"
    with pytest.raises(UserError, match=column):
        tables.table4(results)


def test_means_are_made_once() -> None:
    runs = Runs(make_results())
    pd.testing.assert_frame_equal(tables.table1(runs).frame(), tables.table1(make_results()).frame())
    assert Runs.of(runs) is runs


def test_a_large_table_is_not_copied() -> None:
    """Of a table of 100,000 fine-tunes, scores are most of the memory, and nobody changes them."""
    results = make_results()
    rows = Runs(results).rows
    assert np.shares_memory(rows["fisher.v"].to_numpy(), results["fisher.v"].to_numpy())
    assert "is_failed" not in results
