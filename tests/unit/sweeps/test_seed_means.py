"""Fine-tunes over their seeds, against the standard library's mean and deviation."""

from __future__ import annotations

import statistics

import numpy as np
import pandas as pd
import pytest
from sweep_tables import make_results

from beft_core.sweeps.seed_means import CELL, over_seeds


def small() -> pd.DataFrame:
    """One task and size, terms v and q and the probe, two learning rates, three seeds."""
    return make_results(tasks=("rte",), regimes=("low",), trains=("v", "q", "all"))


def test_mean_and_spread_are_those_of_the_seeds_that_are_done() -> None:
    table = small()
    table.loc[(table["trains"] == "v") & (table["seed"] == 1) & (table["lr"] == 1e-2), "state"] = "failed"
    found = over_seeds(table)
    assert len(found) == 3 * 2
    row = found[(found["trains"] == "v") & (found["lr"] == 1e-2)].iloc[0]
    values = table[(table["trains"] == "v") & (table["lr"] == 1e-2) & (table["seed"] != 1)]["value"].tolist()
    assert row["mean"] == pytest.approx(statistics.mean(values))
    assert row["std"] == pytest.approx(statistics.stdev(values))
    assert (row["seeds"], row["failed"], row["metric"]) == (2, 1, "accuracy")
    other = found[(found["trains"] == "v") & (found["lr"] == 1e-3)].iloc[0]
    assert (other["seeds"], other["failed"]) == (3, 0)


def test_one_seed_has_no_spread_and_none_no_mean() -> None:
    one = small().query("seed == 0")
    assert over_seeds(one)["std"].isna().all()
    failed = over_seeds(one.assign(state="failed", value=np.nan))
    assert failed["mean"].isna().all()
    assert (failed["seeds"] == 0).all() and (failed["failed"] == 1).all()


def test_rows_keep_the_order_of_the_table() -> None:
    found = over_seeds(small().iloc[::-1])
    assert list(dict.fromkeys(found["trains"])) == list(dict.fromkeys(small()["trains"].iloc[::-1]))


def test_what_probes_select_is_told_once_each() -> None:
    table = small()
    probes = (table["trains"] == "all") & (table["lr"] == 1e-2)
    table.loc[probes, "selected.projection_ratio"] = ["v", "q", "v"]
    found = over_seeds(table)
    chosen = found[(found["trains"] == "all") & (found["lr"] == 1e-2)]["selects"].item()
    assert chosen == "v/q"
    assert {*found.loc[found["trains"] == "v", "selects"]} == {None}, "NaN would be written as a word"
    failed = over_seeds(table.assign(state="failed", metric=None, value=None))
    assert {*failed["metric"]} == {*failed["selects"]} == {None}


def test_fine_tunes_of_two_optimizers_are_never_averaged() -> None:
    table = small().query("trains == 'v' and lr == 0.01").assign(adam_epsilon=[1e-8, 1e-8, 1e-6])
    assert sorted(over_seeds(table)["seeds"]) == [1, 2]
    assert {"adam_epsilon", "adam_epsilon_at"} <= set(CELL)
