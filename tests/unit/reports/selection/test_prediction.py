"""Whether the score predicts performance: pairing, regret, hits, tau and intervals, against what hands can compute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_tools import SHORT, noisy, one_case
from scipy.stats import spearmanr
from sweep_tables import Run, make_results

from beft_core.reports.pairing import pairs
from beft_core.reports.selection.prediction import (
    ALWAYS_V,
    CASE_COLUMNS,
    POOLED,
    RANDOM,
    RULES,
    SETTLING_COLUMNS,
    SUMMARY_COLUMNS,
    advantage,
    alike,
    cases,
    pooled_of,
    score_with_metric,
    settling,
    summary,
    summary_of,
    together,
    verdict,
)
from beft_core.reports.selection.rules import FIXED_ORDER, ORACLE, SMALLEST_NORM
from beft_core.scores.approaches import of_probes
from beft_core.sweeps.table import read_table, write_table

# --- one case ------------------------------------------------------------------------------------------------------


def test_a_case_by_hand() -> None:
    table = cases(one_case({"q": 0.75, "k": 0.60, "v": 0.70}))
    assert tuple(table.columns) == CASE_COLUMNS
    assert list(table["rule"]) == [rule for rule in RULES if rule != ORACLE]  # there is no other seed to know from
    by_rule = table.set_index("rule")
    ratio = by_rule.loc["projection_ratio"]  # v, then q, then k; the metrics say q, v, k
    assert (ratio["selected"], ratio["best"], ratio["hit"]) == ("v", "q", 0)
    assert ratio["regret"] == pytest.approx(5.0)
    assert ratio["tau"] == pytest.approx(1 / 3)  # of three pairs one is the other way round
    magnitude = by_rule.loc["magnitude"]  # q, then k, then v
    assert (magnitude["selected"], magnitude["regret"], magnitude["hit"]) == ("q", 0, 1)
    assert magnitude["tau"] == pytest.approx(1 / 3)
    always = by_rule.loc[ALWAYS_V]
    assert always["regret"] == pytest.approx(5.0)
    assert always["tau"] == pytest.approx(0.0)  # v before q is wrong, v before k is right, q and k are level
    fixed = by_rule.loc[FIXED_ORDER]
    assert (fixed["selected"], fixed["tau"]) == ("v", pytest.approx(1 / 3))
    norm = by_rule.loc[SMALLEST_NORM]  # k, then v, then q: nothing is null here
    assert (norm["selected"], norm["regret"], norm["tau"]) == ("k", pytest.approx(15), pytest.approx(-1))
    floor = by_rule.loc[RANDOM]
    assert floor["regret"] == pytest.approx((0 + 15 + 5) / 3) and floor["hit"] == pytest.approx(1 / 3)
    assert floor["tau"] == 0


def test_terms_that_tie_are_all_the_best() -> None:
    table = cases(one_case({"q": 0.7, "k": 0.7 - 5e-10, "v": 0.6})).set_index("rule")
    assert table.loc["magnitude", "best"] == "q+k" and table.loc["magnitude", "hit"] == 1
    assert table.loc[RANDOM, "hit"] == pytest.approx(2 / 3)
    same = cases(one_case({"q": 0.5, "k": 0.5, "v": 0.5}))
    assert set(same["best"]) == {"q+k+v"} and set(same["regret"]) == {0} and (same["hit"] == 1).all()
    assert same["tau"].isna().all()  # also that of "always b_v": the metrics are level
    assert "In 1 case all three terms end equal" in verdict(one_case({"q": 0.5, "k": 0.5, "v": 0.5}))


def test_metrics_below_zero_are_no_exception() -> None:
    table = cases(one_case({"q": -0.1, "k": -0.3, "v": -0.2})).set_index("rule")
    assert table.loc["projection_ratio", "regret"] == pytest.approx(10) and table.loc[ALWAYS_V, "best"] == "q"


# --- rules without a probe -----------------------------------------------------------------------------------------


def test_one_row_for_rules_that_never_differ() -> None:
    def selects(approach: str, run: Run) -> str:
        return {"fisher": "v", "fisher_batch": "v", "magnitude": "q"}.get(approach, "q" if run[4] == 2 else "v")

    table = cases(make_results(null="k", selects=selects))
    found = alike(table)
    assert found["fisher_batch"] == found[FIXED_ORDER] == found[SMALLEST_NORM] == "fisher"
    assert found["projection_ratio"] == found["magnitude_mean_abs"] == "projection_ratio"  # they take q in one seed
    assert found["magnitude"] == "magnitude" and found[RANDOM] == RANDOM
    assert found[ALWAYS_V] == ALWAYS_V  # the selection is Fisher's, the order is not: q and k are level
    assert dict(zip(summary_of(table)["rule"], summary_of(table)["same_as"], strict=True)) == found
    assert together(summary_of(table))["fisher"] == [
        "Fisher (batches)",
        "Fixed order b_v, b_q, b_k",
        "Smallest pre-trained norm",
    ]
    whole = summary_of(table)
    last = whole[whole["task"] == POOLED].reset_index(drop=True)
    pd.testing.assert_frame_equal(pooled_of(table, found), last)
    one_seed = alike(table[table["seed"] == 0])
    assert one_seed["projection_ratio"] == one_seed["fisher"] == "projection_ratio"


# --- answers of whole tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["same", "best"])
def test_an_empty_table_has_no_answer(at: Any) -> None:
    for table in (make_results().head(0), make_results(trains=["all"]), make_results(trains=["v", "q", "k"])):
        assert cases(table, at).empty and tuple(cases(table, at).columns) == CASE_COLUMNS
        assert summary(table, at).empty and tuple(summary(table, at).columns) == SUMMARY_COLUMNS
        assert "no answer yet" in verdict(table, at)
    assert settling(make_results().head(0)).empty


def test_files_lead_to_the_same_numbers(tmp_path: Path) -> None:
    table = make_results(add=noisy, null="k", failed=lambda run: run[4] == 1 and run[2] == "all")
    write_table(table, tmp_path)
    for name in ("results.parquet", "results.csv"):
        pd.testing.assert_frame_equal(summary(read_table(tmp_path / name)), summary(table))


def test_scores_and_metrics_correlate_as_scipy_says() -> None:
    rows = pairs(make_results(["sst2"], ["low"], [1e-4, 1e-3, 1e-2], add=noisy, null="k")).rows
    found = score_with_metric(rows, "projection_ratio")
    for term in ("q", "v"):
        theirs = spearmanr(rows[f"projection_ratio.{term}"], rows[f"value.{term}"]).statistic
        assert found[term] == pytest.approx(theirs)
    assert np.isnan(found["k"])  # frozen: its score is always 0
    assert np.isnan(score_with_metric(rows.head(2), "projection_ratio")["v"])


# --- means and intervals -------------------------------------------------------------------------------------------


def test_a_planted_table_is_answered() -> None:
    """q wins on RTE at the low regime, by 10 points over v; the ratio follows it there, Magnitude always says q."""
    winner = {("rte", "low"): "q"}

    def selects(approach: str, run: Run) -> str:
        follows = approach == "projection_ratio"
        return winner.get(run[:2], "v") if follows else "q" if "magnitude" in approach else "v"

    table = make_results(winners=winner, selects=selects)
    found = summary(table).set_index(["task", "regime", "rule"]).sort_index()
    assert len(found) == (4 + 1) * len(RULES)
    low, pooled = found.loc[("rte", "low")], found.loc[(POOLED, POOLED)]
    assert (low["n"] == 6).all() and (pooled["n"] == 24).all()
    assert low.loc["projection_ratio", "regret"] == 0 and low.loc["magnitude", "hit_rate"] == 1
    assert low.loc[ALWAYS_V, "regret"] == pytest.approx(20)  # v is third where q wins
    assert low.loc[RANDOM, "regret"] == pytest.approx(10)
    assert pooled.loc["projection_ratio", "hit_rate"] == 1 and pooled.loc["projection_ratio", "tau"] == pytest.approx(1)
    assert pooled.loc[ALWAYS_V, "regret"] == pytest.approx(20 / 4) and pooled.loc[ALWAYS_V, "tau_n"] == 24
    right, wrong = 2 / np.sqrt(6), -2 / np.sqrt(6)  # v first of untied metrics, and v last
    assert pooled.loc[ALWAYS_V, "tau"] == pytest.approx((3 * right + wrong) / 4)
    assert pooled.loc[ORACLE, "regret"] == 0 and pooled.loc[ORACLE, "tau"] == pytest.approx(1)
    assert pooled.loc["magnitude", "regret"] == pytest.approx(10 * 3 / 4)
    assert (pooled["regret_low"] - 1e-9 <= pooled["regret"]).all()
    assert (pooled["regret"] <= pooled["regret_high"] + 1e-9).all()
    said = verdict(table)
    assert "24 cases (2 tasks, 12 groups" in said and "loses 0.00 points on average" in said
    assert "always taking b_v loses 5.00 points" in said and "5.00 points fewer" in said


def test_the_advantage_is_that_of_the_same_cases() -> None:
    table = cases(make_results(selects={**dict.fromkeys(of_probes(), "q")}, add=noisy))
    wide = table.pivot(index="case", columns="rule", values="regret")
    mean, low, high = advantage(table)
    assert mean == pytest.approx((wide[ALWAYS_V] - wide["projection_ratio"]).mean()) and low < mean < high
    back = advantage(table, ALWAYS_V, "projection_ratio")
    assert back == pytest.approx((-mean, -high, -low), abs=1e-9)


# --- in words ------------------------------------------------------------------------------------------------------

_VERDICTS: dict[str, tuple[Callable[[Run], str], str]] = {
    "the same": (lambda run: "v", "the score adds nothing to the rule of thumb"),
    "worse": (lambda run: "q", "points more"),
    "at times worse": (lambda run: "q" if run[:2] == ("rte", "low") else "v", "includes 0"),
}


@pytest.mark.parametrize("which", _VERDICTS)
def test_the_verdict_says_what_the_numbers_say(which: str) -> None:
    choose, words = _VERDICTS[which]
    table = make_results(selects=lambda approach, run: choose(run), seeds=[0])
    said = verdict(table)
    assert words in said, said
    if which == "worse":
        assert "do not overlap" in said and "loses 10.00 points" in said and "loses 0.00 points" in said
    if which == "at times worse":
        assert "The intervals overlap" in said


def test_the_verdict_names_what_needs_no_probe_and_what_tasks_can_tell() -> None:
    said = verdict(make_results(null="k", seeds=range(5), add=noisy))
    assert "fixed order b_v, b_q, b_k and the smallest pre-trained norm need no probe" in said
    assert "b_v beats b_q in" in said and "cannot tell a rule that selects well from “always b_v”" in said
    other = verdict(make_results(winners={("rte", "low"): "q"}, null="k", seeds=range(5)))
    assert "loses to it in 2" in other and "In the latter a rule could do better" in other
    assert "need no probe" not in verdict(make_results(selects=dict.fromkeys(of_probes(), "q")))


# --- settling ------------------------------------------------------------------------------------------------------


def test_settling_by_hand() -> None:
    table = make_results(["sst2"], ["low"], [1e-2], range(5), trains=SHORT)
    probes = table["trains"] == "all"
    table.loc[probes, "settled.projection_ratio"] = [0.0, 0.1, 0.2, 0.3, 0.8]
    table.loc[probes, "settled.magnitude"] = [np.nan, 0.5, np.nan, np.nan, np.nan]
    table.loc[probes, "settled.fisher"] = np.nan
    table.loc[probes & (table["seed"] == 4), "state"] = "failed"
    found = settling(table)
    assert tuple(found.columns) == SETTLING_COLUMNS
    found = found.set_index("approach")
    assert "fisher" not in found.index and found.loc["magnitude", "n"] == 1
    ratio = found.loc["projection_ratio"]
    assert (ratio["n"], ratio["median"]) == (4, pytest.approx(0.15)) and ratio["q90"] == pytest.approx(0.27)
