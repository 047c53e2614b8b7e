"""One term against another over seeds: t and p against scipy, and what counts as a win."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_rel
from sweep_tables import Run, make_results

from beft_core.reports.selection.contests import COLUMNS, contest, critical_t, paired, sentence, two_sided_p


def uneven(run: Run) -> float:
    """Noise that differs by term and seed, and favours q on RTE by more than v leads."""
    wave = 0.02 * math.sin(7 * run[4] + sum(map(ord, run[2])))
    return wave + (0.15 if run[2] == "q" and run[0] == "rte" else 0)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 30])
@pytest.mark.parametrize("t", [0.0, 0.3, -2.0, 2.78, 40.0])
def test_p_is_scipys(t: float, freedom: int) -> None:
    assert two_sided_p(t, freedom) == pytest.approx(2 * student.sf(abs(t), freedom), rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("freedom", [1, 2, 4, 9, 30])
def test_the_critical_t_is_scipys(freedom: int) -> None:
    assert critical_t(freedom) == pytest.approx(student.ppf(0.975, freedom), rel=1e-9)
    assert critical_t(freedom, 0.32) == pytest.approx(student.ppf(0.84, freedom), rel=1e-9)
    assert math.isinf(critical_t(0))


def test_five_seeds_need_a_t_of_2_78() -> None:
    assert two_sided_p(2.77, 4) > 0.05 > two_sided_p(2.78, 4)
    assert two_sided_p(math.inf, 4) == pytest.approx(0, abs=1e-15) and two_sided_p(math.nan, 4) == 1


def test_every_cell_is_scipys_paired_test() -> None:
    table = make_results(seeds=range(5), add=uneven).sample(frac=1, random_state=0)
    rows = paired(table)
    assert tuple(rows.columns) == COLUMNS and len(rows) == 2 * 2 * 2 and set(rows["seeds"]) == {5}
    for row in rows.itertuples():
        cell = table[(table["task"] == row.task) & (table["regime"] == row.regime) & (table["lr"] == row.lr)]
        v, q = (cell[cell["trains"] == what].sort_values("seed")["value"] for what in ("v", "q"))
        theirs = ttest_rel(100 * v.to_numpy(), 100 * q.to_numpy())
        assert (row.t, row.p) == (pytest.approx(theirs.statistic), pytest.approx(theirs.pvalue))
        assert row.difference == pytest.approx(100 * (v.to_numpy() - q.to_numpy()).mean())
    clear = rows["p"] < 0.05
    found = contest(table)
    assert found.wins == (clear & (rows["task"] == "sst2")).sum() > 0
    assert found.losses == (clear & (rows["task"] == "rte")).sum() > 0
    turned = contest(table, "q", "v")
    assert (turned.wins, turned.losses) == (found.losses, found.wins)


def test_seeds_that_all_agree_or_lack_a_term() -> None:
    table = make_results(["sst2"], ["low"], [1e-2], range(3))
    assert paired(table)["t"].iloc[0] == math.inf and contest(table).wins == 1
    level = make_results(["sst2"], ["low"], [1e-2], range(3), add=lambda run: 0.1 * (run[2] == "q"))
    assert np.isnan(paired(level)["t"].iloc[0]) and contest(level) == contest(level, "q", "v").__class__(
        "v", "q", 1, 0, 0, 3
    )
    gaps = table[~((table["trains"] == "q") & (table["seed"] > 0))]
    assert paired(gaps).empty and contest(gaps).cells == 0  # one seed with both is no test
    failed = make_results(["sst2"], ["low"], [1e-2], range(3), failed=lambda run: run[2] == "q" and run[4] == 1)
    assert paired(failed)["seeds"].tolist() == [2]
    assert paired(failed.assign(value=failed["value"].fillna(0.1)))["seeds"].tolist() == [2]  # whatever it left


def test_in_words() -> None:
    said = sentence(make_results(seeds=range(5)))
    assert "b_v beats b_q in 8 of 8 and loses to it in none" in said and "cannot tell" in said
    assert "loses to it in 4" in sentence(make_results(seeds=range(5), add=uneven)).split("b_k")[0]
    assert sentence(make_results(trains=["v", "all"])) == ""
