"""Rows and sentences of the prediction: what shares a row, and how an interval reads."""

from __future__ import annotations

import math

import pytest
from sweep_tables import make_results

from beft_core.reports.selection import in_words
from beft_core.reports.selection.prediction import POOLED, summary
from beft_core.reports.selection.rules import ALWAYS_V, FIXED_ORDER, RULES, SMALLEST_NORM
from beft_core.scores.approaches import APPROACHES


@pytest.mark.parametrize(
    ("mean", "low", "high", "text"),
    [
        (1.304, 0.4, 2.1, "1.30 (0.40 to 2.10)"),
        (-0.5, -1, 0, "-0.50 (-1.00 to 0.00)"),
        (1.304, 0.4, math.nan, "1.30"),
        (1.304, math.nan, 2.1, "1.30"),
        (math.nan, 0, 1, "–"),
        (math.inf, 0, 1, "–"),
    ],
)
def test_intervals(mean: float, low: float, high: float, text: str) -> None:
    assert in_words.interval(mean, low, high) == text


def test_decimals_are_those_that_are_asked_for() -> None:
    assert in_words.interval(0.5, 0.25, 0.75, decimals=0) == "0 (0 to 1)"


def test_rules_that_agree_share_a_row_and_a_sentence() -> None:
    table = summary(make_results(tasks=("rte",), regimes=("low",), null="k"))
    pooled = table[(table["task"] == POOLED) & (table["regime"] == POOLED)]
    rows, sentences = in_words.rows(pooled), in_words.shared_rows(pooled)
    assert all(len(row) == len(in_words.HEAD) for row in rows)
    counted = [1 + int(row[0].rpartition("(+ ")[2].rstrip(")")) if "(+ " in row[0] else 1 for row in rows]
    assert sum(counted) == len(pooled)  # every rule is in one row
    assert len(sentences) == sum(count > 1 for count in counted)
    for sentence, row in zip(sentences, (row for row in rows if "(+ " in row[0]), strict=True):
        assert sentence.startswith(f"{row[0]}: ")
        label = row[0].partition(" (+ ")[0]
        first = pooled.loc[pooled["rule"].map(lambda rule: RULES[rule].label) == label].iloc[0]
        assert row[1] == str(first["n"])
        assert row[2].startswith(f"{first['regret']:.2f}")
        assert row[4].startswith(f"{first['tau']:.2f}")


def test_one_other_names_and_several_name() -> None:
    table = summary(make_results(tasks=("rte",), regimes=("low",), null="k"))
    table = table[table["task"] == POOLED].copy()
    table["same_as"] = table["rule"]
    table.loc[table["rule"] == SMALLEST_NORM, "same_as"] = FIXED_ORDER
    assert " (+ 1): Smallest pre-trained norm names the same term" in in_words.shared_rows(table)[0]
    table.loc[table["rule"] == ALWAYS_V, "same_as"] = FIXED_ORDER
    (sentence,) = in_words.shared_rows(table)
    assert "(+ 2): Always b_v; Smallest pre-trained norm name the same term" in sentence


def test_baselines_are_the_rules_without_a_score() -> None:
    assert {rule.key for rule in in_words.BASELINES} == set(RULES) - set(APPROACHES)
    assert (
        in_words.BASELINE_NOTES[0]
        == "Fixed order b_v, b_q, b_k reads nothing; it always ranks the three in this order."
    )
