"""Which examples stand in which row, and how many passes that makes."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from beft_core.training.batches.plan import (
    PASS_COST_IN_TOKENS,
    PassPlan,
    by_length,
    cheapest_by_length,
    plan,
    rounded_rows,
)

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@given(st.integers(1, 100_000))
def test_rows_are_rounded_up_by_little_to_few_numbers(rows: int) -> None:
    rounded = rounded_rows(rows)
    assert rows <= rounded <= rows * 17 / 16
    assert rounded_rows(rounded) == rounded
    octave = 1 << (rows.bit_length() - 1)
    assert len({rounded_rows(n) for n in range(octave, 2 * octave, max(1, octave // 64))}) <= 17


def rows_of(one: PassPlan) -> list[list[int]]:
    """Examples of each row."""
    return [row.tolist() for row in np.split(one.examples, np.cumsum(one.sizes)[:-1])]


@given(LENGTHS, st.integers(1, 4), st.sampled_from(["packed", "longest", "max", "buckets"]), st.booleans())
def test_every_example_has_one_place(lengths: list[int], runs: int, pad: str, rounded: bool) -> None:
    owners = [i % runs for i in range(len(lengths))]
    passes = plan(np.array(lengths), np.array(owners), pad, 48, rounded=rounded)
    assert sorted(i for one in passes for i in one.examples.tolist()) == list(range(len(lengths)))
    for one in passes:
        for row in rows_of(one):
            assert sum(lengths[i] for i in row) <= one.width
            assert len({owners[i] for i in row}) == 1
    if rounded and pad in ("packed", "longest"):
        assert passes[0].width == -(-max(lengths) // 8) * 8


@given(LENGTHS, st.integers(1, 4))
def test_packed_examples_take_the_first_row_of_their_run_with_room_the_longest_first(
    lengths: list[int], runs: int
) -> None:
    owners = [(7 * i) % runs for i in range(len(lengths))]
    (packed,) = plan(np.array(lengths), np.array(owners), "packed", 48, rounded=True)
    expected: list[list[int]] = []
    for run in range(runs):
        own: list[list[int]] = []
        for i in sorted((i for i in range(len(lengths)) if owners[i] == run), key=lambda i: -lengths[i]):
            fits = (row for row in own if sum(lengths[j] for j in row) + lengths[i] <= packed.width)
            if (row := next(fits, None)) is not None:
                row.append(i)
            else:
                own.append([i])
        expected += own
    assert rows_of(packed) == expected


def cost(lengths: list[int], groups: list[np.ndarray]) -> int:
    """Computed tokens of groups, padding included, and what each pass costs besides."""
    return sum(len(group) * max(lengths[i] for i in group) + PASS_COST_IN_TOKENS for group in groups)


@given(st.lists(st.integers(1, 90), min_size=1, max_size=9), st.integers(1, 400))
def test_the_cheapest_groups_are_no_dearer_than_any_others(lengths: list[int], tokens: int) -> None:
    found = cheapest_by_length(np.array(lengths), tokens)
    assert sorted(i for group in found for i in group) == list(range(len(lengths)))
    order = np.argsort(lengths, kind="stable")
    assert np.concatenate(found).tolist() == order.tolist()  # neighbours by length stay neighbours
    allowed = []
    for cuts in itertools.product([False, True], repeat=len(lengths) - 1):
        groups = np.split(order, np.flatnonzero(cuts) + 1)
        if all(len(group) == 1 or len(group) * lengths[group[-1]] <= tokens for group in groups):
            allowed.append(cost(lengths, groups))
    assert cost(lengths, found) == min(allowed)


def test_of_no_examples_there_is_one_empty_group() -> None:
    for split in (by_length, cheapest_by_length):
        assert [group.tolist() for group in split(np.zeros(0, np.int64), 9)] == [[]]


@given(LENGTHS, st.integers(1, 200), st.none() | st.integers(1, 8))
def test_groups_by_length_hold_as_much_as_they_may(lengths: list[int], tokens: int, most: int | None) -> None:
    groups = by_length(np.array(lengths), tokens, most)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group, following in itertools.zip_longest(groups, groups[1:]):
        longest = max(lengths[i] for i in group)
        assert len(group) == 1 or len(group) * longest <= tokens
        assert most is None or len(group) <= most
        if following is not None:  # its first example did not fit into this one
            assert lengths[following[0]] >= longest
            assert (len(group) + 1) * lengths[following[0]] > tokens or len(group) == most
