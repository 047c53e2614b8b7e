"""Shares of the variance that the settings of a sweep explain, beside numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sweep_tables import make_results

from beft_core.sweeps.importance import eta_squared, importances


def test_eta_squared_by_hand() -> None:
    # Means 2 and 5 around 3.5: between 2 * 1.5^2 + 2 * 1.5^2 = 9; total 2.5^2 + 0.5^2 + 0.5^2 + 2.5^2 = 13.
    assert eta_squared(np.array([1.0, 3.0, 4.0, 6.0]), ["a", "a", "b", "b"]) == pytest.approx(9 / 13)
    # Groups of 1 and 3: means 1 and 13/3 around 3.5: between 2.5^2 + 3 * (5/6)^2 = 25/3.
    assert eta_squared(np.array([1.0, 3.0, 4.0, 6.0]), [0, 1, 1, 1]) == pytest.approx(25 / 3 / 13)
    assert eta_squared(np.array([1.0, 3.0, 1.0, 3.0]), ["a", "a", "b", "b"]) == pytest.approx(0.0)
    assert eta_squared(np.array([0.7, 0.7, 0.7 + 1e-16]), ["a", "b", "b"]) is None


def grid() -> pd.DataFrame:
    """A full grid of one task: the metric is 0.5, 0.1 more at the larger rate, 0.02 more at the second seed."""
    rows = [
        {"task": "rte", "metric": "accuracy", "state": "done", "trains": trains, "lr": lr, "seed": seed, "n_train": 300}
        | {"value": 0.5 + 0.1 * (lr == 0.01) + 0.02 * seed}
        for trains in ("v", "q")
        for lr in (0.001, 0.01)
        for seed in (0, 1)
    ]
    return pd.DataFrame(rows)


def test_of_a_full_grid_without_interactions_the_shares_sum_to_one() -> None:
    rate, seed, trains = importances(grid())
    assert [one.setting for one in (rate, seed, trains)] == ["lr", "seed", "trains"]  # n_train did not vary
    assert rate.share == pytest.approx(0.05**2 / (0.05**2 + 0.01**2)) and trains.share == pytest.approx(0.0)
    assert rate.share + seed.share + trains.share == pytest.approx(1.0)
    assert (rate.task, rate.metric, rate.levels, rate.runs, rate.by_chance) == ("rte", "accuracy", 2, 8, 1 / 7)


def test_only_finished_fine_tunes_of_one_task_count() -> None:
    table = grid()
    other = table.assign(task="cb", value=0.3)  # nothing varies there
    failed = table.iloc[:2].assign(state="failed", value=5.0)
    infinite = table.iloc[:2].assign(value=np.inf)
    assert importances(pd.concat([table, other, failed, infinite])) == importances(table)
    assert importances(table.iloc[:2]) == []  # each has a seed of its own
    assert importances(table.iloc[:0]) == []


def test_a_real_table_names_every_setting_that_was_varied() -> None:
    found = importances(make_results())
    assert {one.setting for one in found} == {"n_train", "trains", "lr", "seed"}
    assert {one.task for one in found} == {"sst2", "rte"} and all(0 <= one.share <= 1 for one in found)
