"""Choice of a learning rate from made-up trials."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest

from beft_core.comparison.choice import choose
from beft_core.comparison.entries import entry_of

ENTRY = entry_of("lora", 32, 5, ())


def trials(values: list[float | None], trains: str = "lora", failed: int = -1) -> pd.DataFrame:
    rows = [
        {"trains": trains, "lr": lr, "state": "failed" if at == failed else "done", "value": value}
        for at, (lr, value) in enumerate(zip(ENTRY.lrs, values, strict=True))
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("values", "at", "edge"),
    [
        ([0.5, 0.6, 0.8, 0.7, 0.5], 2, ""),
        ([0.5, 0.6, 0.7, 0.8, 0.9], 4, "largest"),
        ([0.9, 0.6, 0.7, 0.8, 0.5], 0, "smallest"),
        ([0.5, 0.5, 0.5, 0.5, 0.5], 2, ""),  # a tie: the middle
        ([0.5, 0.8, 0.5, 0.8, 0.5], 1, ""),  # as near to the middle: the smaller
        ([0.8, 0.5, 0.5, 0.8, 0.5], 3, ""),  # the nearer one
        ([0.9, None, 0.7, 0.8, 0.5], 0, "smallest"),
    ],
)
def test_the_best_rate_is_chosen(values: list[float | None], at: int, edge: str) -> None:
    found = choose(ENTRY, trials(values))
    assert (found.lr, found.edge) == (ENTRY.lrs[at], edge)
    assert json.loads(found.as_json()) == [list(pair) for pair in zip(ENTRY.lrs, values, strict=True)]
    assert bool(found.in_words(ENTRY)) == bool(edge)
    if edge:
        assert f"the range's {edge}, {found.lr:g}: widen it" in found.in_words(ENTRY)


def test_an_end_that_is_no_better_than_its_neighbour_says_nothing_of_the_range() -> None:
    two = entry_of("lora", 32, 2, ())
    table = pd.DataFrame([{"trains": "lora", "lr": lr, "state": "done", "value": 0.5} for lr in two.lrs])
    assert (choose(two, table).lr, choose(two, table).edge) == (two.lrs[0], "")


def test_trials_that_failed_are_never_chosen() -> None:
    found = choose(ENTRY, trials([0.5, 0.6, 0.9, 0.7, 0.5], failed=2))
    assert found.lr == ENTRY.lrs[3] and found.trials[2] == (ENTRY.lrs[2], None)
    assert choose(ENTRY, trials([0.5, 0.6, math.nan, 0.7, 0.5])).lr == ENTRY.lrs[3]


def test_without_a_metric_there_is_no_choice() -> None:
    for table in (trials([math.nan] * 5), trials([0.5] * 5, trains="dora")):
        found = choose(ENTRY, table)
        assert (found.lr, found.edge, found.in_words(ENTRY)) == (None, "", "")


def test_a_single_rate_has_no_edge() -> None:
    one = entry_of("lora", 32, 1, ())
    table = pd.DataFrame([{"trains": "lora", "lr": one.lrs[0], "state": "done", "value": 0.5}])
    assert (choose(one, table).lr, choose(one, table).edge) == (one.lrs[0], "")
