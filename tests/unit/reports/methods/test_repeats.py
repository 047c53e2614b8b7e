"""Rows of one method that stand several times: which one counts is a rule, and the others are named."""

from __future__ import annotations

import math
from typing import Any

import pytest
from made_comparisons import row

from beft_core.reports.methods.repeats import MAX_NAMED, RULE, in_words, without_repeats
from beft_core.reports.methods.table import comparison_of


def rows(*several: dict[str, Any]) -> list[dict[str, Any]]:
    return comparison_of(several, []).rows.to_dict("records")


@pytest.mark.parametrize(
    ("several", "stays"),
    [
        ([row("v", 0.7), row("v", 0.8)], [0]),  # as good: the first
        ([row("v", 0.7, seeds=2), row("v", 0.6, seeds=3)], [1]),
        ([row("v", math.nan, state="failed", seeds=0), row("v", 0.6, seeds=1)], [1]),
        ([row("v", math.nan, seeds=9), row("v", 0.6, seeds=1)], [1]),
        ([row("v", 0.7), row("v", 0.7, n_train=287), row("v", 0.7, setting="same"), row("q", 0.7)], [0, 1, 2, 3]),
        ([row("v", 0.7, n_train=None), row("v", 0.8, n_train=None)], [0]),  # of an unknown number, one too
        ([row("lora", 0.7), row("lora", 0.7, trains="lora rank=4")], [0, 1]),
    ],
)
def test_which_row_counts(several: list[dict[str, Any]], stays: list[int]) -> None:
    kept, said = without_repeats(rows(*several))
    assert kept == stays and len(said) == len(several) - len(stays)


def test_what_is_left_out_is_named() -> None:
    _, said = without_repeats(rows(row("v", 0.7, seeds=2, lr=None), row("v", 0.8)))
    assert said == (
        "b_v on sst2 (bundled, 1,000 examples), best: 80.0 of 3 seeds at 0.001 counts, 70.0 of 2 seeds is left out",
    )
    _, said = without_repeats(rows(row("v", math.nan, state="failed", n_train=None), row("v", 0.8, n_train=None)))
    assert said[0].startswith("b_v on sst2 (bundled), best") and said[0].endswith("one without a number is left out")
    _, said = without_repeats(rows(*(row("v", 0.8) for _ in range(3))))
    assert said == (), "the same row once more loses nothing"


def test_of_rows_of_other_conditions_those_are_named() -> None:
    one, other = row("v", 0.8, preset="quick"), row("v", 0.7, preset="paper", seeds=2, n_eval=100)
    _, said = without_repeats(rows(one, other))
    assert "80.0 of 3 seeds at 0.001 (quick preset, accuracy on 872 validation examples) counts" in said[0]
    assert said[0].endswith("(paper preset, accuracy on 100 validation examples) is left out")


def test_only_the_first_are_named_in_a_sentence() -> None:
    said = in_words([f"row {number}" for number in range(MAX_NAMED + 2)])
    assert RULE in said and said.endswith(f"; row {MAX_NAMED - 1}; and 2 more") and in_words(()) == ""
