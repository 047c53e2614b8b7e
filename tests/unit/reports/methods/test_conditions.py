"""Conditions of rows in words, and where one table mixes them."""

from __future__ import annotations

import math

from made_comparisons import comparison, row

from beft_core.reports.methods.conditions import conditions, mixed


def test_conditions_in_words() -> None:
    rows = comparison(row("v", 0.8, preset="quick"), row("q", 0.8, n_eval=math.nan, metric=None)).rows
    assert [conditions(one) for one in rows.to_dict("records")] == [
        "quick preset, accuracy on 872 validation examples",
        "unknown preset, no metric on an unknown number of validation examples",
    ]


def test_rows_of_one_condition_are_not_mixed() -> None:
    rows = [row("v", 0.8), row("q", 0.7), row("v", 0.7, task="rte", n_eval=277), row("v", 0.7, n_train=100, n_eval=9)]
    assert mixed(comparison(*rows, row("lora", math.nan, state="refused", metric=None)).rows) == []


def test_which_numbers_are_of_other_conditions() -> None:
    rows = [row("v", 0.8), row("lora", 0.8, metric="f1"), row("q", 0.8), row("full", 0.8, n_eval=100)]
    (said,) = mixed(comparison(*rows).rows)
    assert said.startswith("sst2, 1,000 training examples: ")
    assert "b_v, b_q: unknown preset, accuracy on 872" in said and "LoRA: unknown preset, f1 on 872" in said
    assert "every weight: unknown preset, accuracy on 100" in said
