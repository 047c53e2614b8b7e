"""Which probe belongs to which fine-tunes of one term, against a search for each."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from report_tools import SHORT, noisy, of_rule, one_case
from sweep_tables import Run, make_results

from beft_core.reports.pairing import match_grids, pairs
from beft_core.reports.selection.prediction import (
    cases,
    settling,
)
from beft_core.terms import CANDIDATES


@pytest.mark.parametrize(
    ("probe", "terms", "expected"),
    [
        ([1, 2], [1, 2], [(1, 1), (2, 2)]),
        ([1, 2], [10, 20], [(1, 10), (2, 20)]),
        ([1, 2], [2, 3], [(1, 2), (2, 3)]),
        ([5], [1, 2], [(5, 1), (5, 2)]),
        ([1, 2], [5], [(1, 5), (2, 5)]),
        ([1], [1, 2], [(1, 1), (1, 2)]),
        ([1, 2, 3], [2, 3], [(2, 2), (3, 3)]),
        ([1, 2, 3], [8, 9], []),
        ([], [1], []),
    ],
)
def test_grids_are_matched(probe: list[float], terms: list[float], expected: list[tuple[float, float]]) -> None:
    assert match_grids(probe, terms) == expected


def test_grids_that_differ_are_matched_by_position_even_if_a_run_failed() -> None:
    """A failed run keeps its place: its neighbours are not shifted to other learning rates."""
    table = make_results(["sst2"], ["low"], [1e-3, 1e-2, 1e-1], [0, 1], trains=SHORT)
    table.loc[table["trains"] == "all", "lr"] /= 10
    failed = (table["trains"] == "all") & np.isclose(table["lr"], 1e-4)
    table.loc[failed, ["state", "value"]] = ["failed", np.nan]
    rows = pairs(table).rows
    assert sorted(zip(rows["lr"].round(9), rows["term_lr"].round(9), strict=True)) == [
        (1e-3, 1e-2),
        (1e-3, 1e-2),
        (1e-2, 1e-1),
        (1e-2, 1e-1),
    ]
    assert pairs(table).left_out == {"probes that failed": 2}


def test_each_term_at_its_best() -> None:
    table = make_results(["sst2"], ["low"], [1e-3, 1e-2], [0], trains=SHORT)
    table.loc[(table["trains"] == "q") & (table["lr"] == 1e-3), "value"] = 0.95
    rows = pairs(table, "best").rows
    assert list(rows["lr"]) == [1e-3, 1e-2] and set(rows["value.q"]) == {0.95} and set(rows["lr.q"]) == {1e-3}
    assert set(rows["lr.v"]) == {1e-2} and set(rows["value.v"]) == {0.8} and rows["term_lr"].isna().all()
    table = cases(table, "best")
    assert list(of_rule(table, "projection_ratio")["regret"].round(6)) == [15, 15]


def test_of_rates_that_serve_equally_the_smaller_is_the_best() -> None:
    table = make_results(["sst2"], ["low"], [1e-4, 1e-3, 1e-2], [0], trains=SHORT)
    table.loc[(table["trains"] == "q") & (table["lr"] > 1e-4), "value"] = 0.9
    for rows in (table, table.iloc[::-1]):
        assert set(pairs(rows, "best").rows["lr.q"]) == {1e-3}


def test_every_value_stands_beside_its_own_probe() -> None:
    """Pairing over many tasks, sizes, rates and seeds in any order of rows, against a search for each."""
    table = make_results(add=noisy).sample(frac=1, random_state=3)
    rows = pairs(table).rows
    assert len(rows) == 2 * 2 * 2 * 3
    for row in rows.to_dict("records"):
        same = (table[["task", "n_train", "seed", "lr"]] == [row[k] for k in ("task", "n_train", "seed", "lr")]).all(1)
        here = table[same].set_index("trains")
        for term in CANDIDATES:
            assert row[f"value.{term}"] == here.loc[term, "value"]
            assert row[f"projection_ratio.{term}"] == here.loc["all", f"projection_ratio.{term}"]


def test_what_is_left_out_is_counted() -> None:
    def failed(run: Run) -> bool:
        return run[2] in ("q", "all") and run[4] == 1

    table = make_results(["sst2"], ["low"], [1e-3, 1e-2], [0, 1, 2], trains=SHORT, failed=failed)
    table = table[~((table["trains"] == "k") & (table["seed"] == 2))]
    found = pairs(table)
    assert list(found.rows["seed"]) == [0, 0]
    assert found.left_out == {
        "probes that failed": 2,
        "fine-tunes of one term that failed": 2,
        "probes without a metric of each of q, k and v": 2,
    }
    assert set(of_rule(cases(table), "projection_ratio")["seed"]) == {0}


def test_other_rates_than_the_grids_share_are_left_out() -> None:
    table = make_results(["sst2"], ["low"], [1e-3, 1e-2, 1e-1], [0], trains=SHORT)
    table = table[(table["trains"] == "all") | (table["lr"] < 1e-1)]
    assert pairs(table).left_out == {"probes at a learning rate that no fine-tune of one term has": 1}


def test_of_repeated_runs_the_last_counts() -> None:
    table = one_case({"q": 0.75, "k": 0.6, "v": 0.7})
    again = table[table["trains"] == "v"].assign(value=0.9)
    found = pairs(pd.concat([table, again]))
    assert list(found.rows["value.v"]) == [0.9] and found.left_out == {"repeated fine-tunes": 1}


def test_a_regime_without_a_name_is_called_by_its_size() -> None:
    table = make_results(["sst2"], ["low"], seeds=[0, 1]).assign(regime=None)
    assert set(cases(table)["regime"]) == {"1,000 examples"} and set(settling(table)["regime"]) == {"1,000 examples"}
