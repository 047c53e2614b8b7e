"""Whether the score predicts performance: pairing, regret, hits, tau and intervals, against what hands can compute."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, spearmanr
from sweep_tables import Run, make_results

from beft_core.reports.pairing import match_grids, pairs
from beft_core.reports.selection.prediction import (
    ALWAYS_V,
    CASE_COLUMNS,
    MEASURES,
    POOLED,
    RANDOM,
    RULES,
    SETTLING_COLUMNS,
    SUMMARY_COLUMNS,
    advantage,
    alike,
    cases,
    score_with_metric,
    settling,
    summary,
    summary_of,
    together,
    verdict,
)
from beft_core.reports.selection.rules import FIXED_ORDER, ORACLE, SMALLEST_NORM
from beft_core.scores.approaches import APPROACHES
from beft_core.sweeps.table import read_table, write_table
from beft_core.terms import CANDIDATES

SHORT = ("v", "q", "k", "all")


def one(values: dict[str, float], **more: Any) -> pd.DataFrame:
    """One probe beside three fine-tunes with the given metrics, by default at one learning rate and seed."""
    more = {"tasks": ["sst2"], "regimes": ["low"], "lrs": [1e-2], "seeds": [0], "trains": SHORT} | more
    table = make_results(**more)
    for term, value in values.items():
        table.loc[table["trains"] == term, "value"] = value
    return table


def of(table: pd.DataFrame, rule: str) -> pd.DataFrame:
    return table[table["rule"] == rule]


def noisy(run: Run) -> float:
    return 0.07 * math.sin(sum(map(ord, f"{run}")))


# --- one case ------------------------------------------------------------------------------------------------------


def test_a_case_by_hand() -> None:
    table = cases(one({"q": 0.75, "k": 0.60, "v": 0.70}))
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
    table = cases(one({"q": 0.7, "k": 0.7 - 5e-10, "v": 0.6})).set_index("rule")
    assert table.loc["magnitude", "best"] == "q+k" and table.loc["magnitude", "hit"] == 1
    assert table.loc[RANDOM, "hit"] == pytest.approx(2 / 3)
    same = cases(one({"q": 0.5, "k": 0.5, "v": 0.5}))
    assert set(same["best"]) == {"q+k+v"} and set(same["regret"]) == {0} and (same["hit"] == 1).all()
    assert same["tau"].isna().all()  # also that of "always b_v": the metrics are level
    assert "In 1 case all three terms end equal" in verdict(one({"q": 0.5, "k": 0.5, "v": 0.5}))


def test_metrics_below_zero_are_no_exception() -> None:
    table = cases(one({"q": -0.1, "k": -0.3, "v": -0.2})).set_index("rule")
    assert table.loc["projection_ratio", "regret"] == pytest.approx(10) and table.loc[ALWAYS_V, "best"] == "q"


# --- rules without a probe -----------------------------------------------------------------------------------------


def test_a_constant_ranking_has_the_tau_of_scipy() -> None:
    """“Always b_v” leaves q and k level: with ties on its side tau-b stays below 1 whatever the metrics."""
    values = {"q": 0.7, "k": 0.6, "v": 0.75}
    table = cases(one(values)).set_index("rule")
    metrics = [values[term] for term in CANDIDATES]
    assert table.loc[ALWAYS_V, "tau"] == pytest.approx(kendalltau([0, 0, 1], metrics, variant="b").statistic)
    assert table.loc[ALWAYS_V, "tau"] == pytest.approx(0.8165, abs=1e-4) and table.loc[FIXED_ORDER, "tau"] == 1


def test_a_null_term_that_was_trained_all_the_same_is_not_named() -> None:
    """Rounding moved it (``train_null``): its score is the highest, and it is read as that of a frozen one, 0."""
    values = {"q": 0.75, "k": 0.80, "v": 0.70}
    frozen = one(values, null="k")
    moved = frozen.copy()
    probe = moved["trains"] == "all"
    for approach in APPROACHES:
        moved.loc[probe, f"{approach}.k"] = 1.5
    table = cases(moved)
    assert set(table.loc[table["rule"].isin(APPROACHES), "selected"]) == {"q", "v"}
    pd.testing.assert_frame_equal(table, cases(frozen))
    for approach in APPROACHES:  # nothing but the null term moved: there is nothing to select by
        moved.loc[probe, [f"{approach}.q", f"{approach}.v"]] = 0.0
    assert not set(cases(moved)["rule"]) & set(APPROACHES)
    assert not set(cases(frozen.assign(null_terms="q+k"))["rule"]) & set(APPROACHES), "one rival is no contest"


def test_the_smallest_norm_never_names_a_null_term_and_says_nothing_where_norms_do() -> None:
    null = of(cases(one({"q": 0.75, "k": 0.60, "v": 0.70}, null="k")), SMALLEST_NORM)
    assert list(null["selected"]) == ["v"] and null["tau"].iloc[0] == pytest.approx(1 / 3)  # v, q, k against q, v, k
    table = one({"q": 0.75, "k": 0.60, "v": 0.70}, null="k")
    probe = table["trains"] == "all"
    for norms in ([np.nan, 0.5, 1.0], [2.0, 0.5, 2.0], [0.0, 0.0, 0.0]):
        table.loc[probe, [f"pre_norm.{term}" for term in CANDIDATES]] = norms
        assert of(cases(table), SMALLEST_NORM).empty, norms
    table.loc[probe, [f"pre_norm.{term}" for term in CANDIDATES]] = [0.3, 0.1, 0.4]
    assert list(of(cases(table), SMALLEST_NORM)["selected"]) == ["q"]


@pytest.mark.parametrize("at", ["same", "best"])
def test_the_oracle_knows_the_other_seeds_only(at: Any) -> None:
    """Against a loop: for each case, the mean of each term over the seeds but its own, same task, size and rate."""
    table = make_results(add=lambda run: 3 * noisy(run))
    rows = pairs(table, at).rows
    found = of(cases(table, at), ORACLE).set_index("case")
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
    one_seed = alike(table[table["seed"] == 0])
    assert one_seed["projection_ratio"] == one_seed["fisher"] == "projection_ratio"


# --- which runs belong together ------------------------------------------------------------------------------------


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
    assert list(of(table, "projection_ratio")["regret"].round(6)) == [15, 15]


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
    assert set(of(cases(table), "projection_ratio")["seed"]) == {0}


def test_other_rates_than_the_grids_share_are_left_out() -> None:
    table = make_results(["sst2"], ["low"], [1e-3, 1e-2, 1e-1], [0], trains=SHORT)
    table = table[(table["trains"] == "all") | (table["lr"] < 1e-1)]
    assert pairs(table).left_out == {"probes at a learning rate that no fine-tune of one term has": 1}


def test_of_repeated_runs_the_last_counts() -> None:
    table = one({"q": 0.75, "k": 0.6, "v": 0.7})
    again = table[table["trains"] == "v"].assign(value=0.9)
    found = pairs(pd.concat([table, again]))
    assert list(found.rows["value.v"]) == [0.9] and found.left_out == {"repeated fine-tunes": 1}


def test_a_rule_without_scores_has_no_case() -> None:
    table = make_results(trains=SHORT)
    probes = table["trains"] == "all"
    table.loc[probes, [f"fisher.{term}" for term in CANDIDATES]] = np.nan
    table.loc[probes & (table["seed"] == 0), [f"magnitude.{term}" for term in CANDIDATES]] = 0.0
    found = cases(table)
    assert of(found, "fisher").empty and len(of(found, "magnitude")) == 16 and len(of(found, "projection_ratio")) == 24
    assert "fisher" not in set(summary_of(found)["rule"])


def test_a_regime_without_a_name_is_called_by_its_size() -> None:
    table = make_results(["sst2"], ["low"], seeds=[0, 1]).assign(regime=None)
    assert set(cases(table)["regime"]) == {"1,000 examples"} and set(settling(table)["regime"]) == {"1,000 examples"}


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


def test_intervals_draw_whole_seeds() -> None:
    """Against a plain loop over resamples; learning rates of a seed go together, so copies of them change nothing."""
    table = of(cases(make_results(["sst2"], ["low"], seeds=range(6), add=noisy)), "magnitude")
    row = summary_of(table).iloc[0]
    groups = [group["regret"].to_numpy() for _, group in table.groupby("seed")]
    rng = np.random.default_rng(1)
    means = [np.concatenate([groups[i] for i in rng.integers(0, 6, 6)]).mean() for _ in range(20_000)]
    low, high = np.percentile(means, [2.5, 97.5])
    spread = high - low
    assert row["regret"] == pytest.approx(table["regret"].mean())
    assert row["regret_low"] == pytest.approx(low, abs=0.08 * spread)
    assert row["regret_high"] == pytest.approx(high, abs=0.08 * spread)
    twice = pd.concat([table, table.assign(lr=1.0)])
    again = summary_of(twice).iloc[0]
    names = [f"{short}{end}" for short in MEASURES for end in ("_low", "_high")]
    np.testing.assert_allclose(list(again[names]), list(row[names]))


def test_intervals_draw_tasks_and_seeds_within_them() -> None:
    """Against a plain loop: tasks with replacement, and for each drawn one its sizes and seeds with replacement."""
    table = make_results(
        ["sst2", "rte", "cola", "stsb"], seeds=range(4), add=noisy, winners={("rte", "low"): "q", ("cola", "low"): "k"}
    )
    table = of(cases(table), "magnitude")
    row = summary_of(table).iloc[-1]
    assert row["draws"] == "tasks" and (summary_of(table)["draws"].iloc[:-1] == "seeds").all()
    groups = {
        task: [group["regret"].to_numpy() for _, group in own.groupby(["regime", "seed"])]
        for task, own in table.groupby("task")
    }
    rng = np.random.default_rng(1)
    means = []
    for _ in range(10_000):
        drawn: list[np.ndarray] = []
        for task in rng.choice(list(groups), len(groups)):
            drawn += [groups[task][at] for at in rng.integers(0, len(groups[task]), len(groups[task]))]
        means.append(np.concatenate(drawn).mean())
    low, high = np.percentile(means, [2.5, 97.5])
    assert row["regret_low"] == pytest.approx(low, abs=0.08 * (high - low))
    assert row["regret_high"] == pytest.approx(high, abs=0.08 * (high - low))
    # Seeds alone, as if all were of one task, look far surer than they are.
    fixed = summary_of(table.assign(regime=table["task"] + table["regime"], task="one")).iloc[-1]
    assert fixed["draws"] == "seeds"
    assert row["regret_high"] - row["regret_low"] > 1.5 * (fixed["regret_high"] - fixed["regret_low"])


def test_results_repeat_and_one_seed_has_no_interval() -> None:
    table = make_results(add=noisy)
    pd.testing.assert_frame_equal(summary(table), summary(table))
    alone = summary(one({"q": 0.75, "k": 0.6, "v": 0.7}))
    assert alone["regret_low"].isna().all() and alone["hit_high"].isna().all() and alone["regret"].notna().all()
    assert "one group, no interval" in verdict(one({"q": 0.75, "k": 0.6, "v": 0.7}))


def test_the_advantage_is_that_of_the_same_cases() -> None:
    table = cases(make_results(selects={**dict.fromkeys(APPROACHES, "q")}, add=noisy))
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
    assert "need no probe" not in verdict(make_results(selects=dict.fromkeys(APPROACHES, "q")))


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
