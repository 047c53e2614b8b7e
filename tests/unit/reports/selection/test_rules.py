"""Rules that need no probe, and those that read one: which term they name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_tools import SHORT, noisy, of_rule, one_case
from scipy.stats import kendalltau
from sweep_tables import make_results

from beft_core.reports.pairing import pairs
from beft_core.reports.selection.prediction import (
    ALWAYS_V,
    cases,
    summary_of,
)
from beft_core.reports.selection.rules import FIXED_ORDER, ORACLE, SMALLEST_NORM
from beft_core.scores.approaches import of_probes
from beft_core.terms import CANDIDATES


def test_a_constant_ranking_has_the_tau_of_scipy() -> None:
    """“Always b_v” leaves q and k level: with ties on its side tau-b stays below 1 whatever the metrics."""
    values = {"q": 0.7, "k": 0.6, "v": 0.75}
    table = cases(one_case(values)).set_index("rule")
    metrics = [values[term] for term in CANDIDATES]
    assert table.loc[ALWAYS_V, "tau"] == pytest.approx(kendalltau([0, 0, 1], metrics, variant="b").statistic)
    assert table.loc[ALWAYS_V, "tau"] == pytest.approx(0.8165, abs=1e-4) and table.loc[FIXED_ORDER, "tau"] == 1


def test_a_null_term_that_was_trained_all_the_same_is_not_named() -> None:
    """Rounding moved it (``train_null``): its score is the highest, and it is read as that of a frozen one, 0."""
    values = {"q": 0.75, "k": 0.80, "v": 0.70}
    frozen = one_case(values, null="k")
    moved = frozen.copy()
    probe = moved["trains"] == "all"
    for approach in of_probes():
        moved.loc[probe, f"{approach}.k"] = 1.5
    table = cases(moved)
    assert set(table.loc[table["rule"].isin(of_probes()), "selected"]) == {"q", "v"}
    pd.testing.assert_frame_equal(table, cases(frozen))
    for approach in of_probes():  # nothing but the null term moved: there is nothing to select by
        moved.loc[probe, [f"{approach}.q", f"{approach}.v"]] = 0.0
    assert not set(cases(moved)["rule"]) & set(of_probes())
    assert not set(cases(frozen.assign(null_terms="q+k"))["rule"]) & set(of_probes()), "one rival is no contest"


@pytest.mark.parametrize("null", ["", "k"])
def test_of_equal_scores_no_term_is_named(null: str) -> None:
    """A ratio from zero is 1 whatever a term learned: three equal numbers say nothing of who is first."""
    table = one_case({"q": 0.75, "k": 0.60, "v": 0.70}, **({"null": null} if null else {}))
    probe = table["trains"] == "all"
    for term in set(CANDIDATES) - {null}:
        table.loc[probe, f"projection_ratio.{term}"] = 1.0
    found = cases(table)
    assert "projection_ratio" not in set(found["rule"]) and "magnitude" in set(found["rule"])
    table.loc[probe, "projection_ratio.q"] = 1.5
    assert list(of_rule(cases(table), "projection_ratio")["selected"]) == ["q"]


def test_a_term_that_started_at_zero_is_not_named_by_how_far_it_turned() -> None:
    """A bias that was added beside others that the model has: its ratio is 1 by definition, above every other."""
    table = one_case({"q": 0.75, "k": 0.60, "v": 0.70})
    probe = table["trains"] == "all"
    table.loc[probe, [f"projection_ratio.{term}" for term in CANDIDATES]] = [0.2, 0.3, 1.0]
    assert list(of_rule(cases(table), "projection_ratio")["selected"]) == ["v"]
    table.loc[probe, "pre_norm.v"] = 0.0
    found = cases(table)
    assert list(of_rule(found, "projection_ratio")["selected"]) == ["k"]
    assert list(of_rule(found, "magnitude")["selected"]) == list(of_rule(cases(table), "magnitude")["selected"])
    alone = cases(table.assign(null_terms="k"))
    assert of_rule(alone, "projection_ratio").empty and not of_rule(alone, "magnitude").empty, "q alone is no contest"
    table.loc[probe, "pre_norm.v"] = np.nan
    assert list(of_rule(cases(table), "projection_ratio")["selected"]) == ["v"], "a table without norms cannot tell"


def test_the_smallest_norm_never_names_a_null_term_and_says_nothing_where_norms_do() -> None:
    null = of_rule(cases(one_case({"q": 0.75, "k": 0.60, "v": 0.70}, null="k")), SMALLEST_NORM)
    assert list(null["selected"]) == ["v"] and null["tau"].iloc[0] == pytest.approx(1 / 3)  # v, q, k against q, v, k
    table = one_case({"q": 0.75, "k": 0.60, "v": 0.70}, null="k")
    probe = table["trains"] == "all"
    for norms in ([np.nan, 0.5, 1.0], [2.0, 0.5, 2.0], [0.0, 0.0, 0.0]):
        table.loc[probe, [f"pre_norm.{term}" for term in CANDIDATES]] = norms
        assert of_rule(cases(table), SMALLEST_NORM).empty, norms
    table.loc[probe, [f"pre_norm.{term}" for term in CANDIDATES]] = [0.3, 0.1, 0.4]
    assert list(of_rule(cases(table), SMALLEST_NORM)["selected"]) == ["q"]


@pytest.mark.parametrize("at", ["same", "best"])
def test_the_oracle_knows_the_other_seeds_only(at: Any) -> None:
    """Against a loop: for each case, the mean of each term over the seeds but its own, same task, size and rate."""
    table = make_results(add=lambda run: 3 * noisy(run))
    rows = pairs(table, at).rows
    found = of_rule(cases(table, at), ORACLE).set_index("case")
    assert len(found) == len(rows) == 24
    for number, row in rows.iterrows():
        same = (rows[["task", "n_train", "lr"]] == [row["task"], row["n_train"], row["lr"]]).all(axis=1)
        others = rows[same & (rows["seed"] != row["seed"])]
        assert len(others) == 2
        means = [others[f"value.{term}"].mean() for term in CANDIDATES]
        assert found.loc[number, "selected"] == CANDIDATES[int(np.argmax(means))]
        own = [row[f"value.{term}"] for term in CANDIDATES]
        assert found.loc[number, "regret"] == pytest.approx(100 * (max(own) - own[int(np.argmax(means))]))
        assert found.loc[number, "tau"] == pytest.approx(kendalltau(means, own).statistic)
    assert found["regret"].max() > 0  # knowing the others is not knowing the seed


def test_a_rule_without_scores_has_no_case() -> None:
    table = make_results(trains=SHORT)
    probes = table["trains"] == "all"
    table.loc[probes, [f"fisher.{term}" for term in CANDIDATES]] = np.nan
    table.loc[probes & (table["seed"] == 0), [f"magnitude.{term}" for term in CANDIDATES]] = 0.0
    found = cases(table)
    assert (
        of_rule(found, "fisher").empty
        and len(of_rule(found, "magnitude")) == 16
        and len(of_rule(found, "projection_ratio")) == 24
    )
    assert "fisher" not in set(summary_of(found)["rule"])
