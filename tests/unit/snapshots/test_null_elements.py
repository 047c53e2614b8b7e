"""Null elements as ranges, their mask and back, and what they have of a movement."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beft_core.snapshots.null_elements import count_of, is_ranges, mask_of, noise_share, ranges_of, said


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_ranges_are_the_mask_in_other_words(bits: list[bool]) -> None:
    mask = np.array(bits)
    ranges = ranges_of(mask)
    assert mask_of(ranges, len(bits)).tolist() == bits
    assert count_of(ranges) == sum(bits)
    assert is_ranges(ranges) == any(bits)
    assert all(last < first for (_, last), (first, _) in pairwise(ranges))  # apart


def test_heads_of_sixteen_of_which_four_are_turned() -> None:
    mask = np.tile(np.arange(16) >= 4, 2)
    assert ranges_of(mask) == ((4, 16), (20, 32))


def test_what_lies_beyond_the_width_is_left_out() -> None:
    assert mask_of([[1, 9]], 3).tolist() == [False, True, True]


@pytest.mark.parametrize(
    "value",
    [
        None,
        "x",
        [],
        [[1]],
        [[1, 2, 3]],
        [[2, 2]],
        [[3, 2]],
        [[-1, 2]],
        [[0, 2], [1, 3]],
        [[0, 2], [2, 3]],
        [[0, 2**31]],
        [[0.0, 2]],
        [[False, True]],
        [[4, 5], [0, 1]],
        ["ab"],
    ],
)
def test_what_is_no_list_of_ranges(value: Any) -> None:
    assert not is_ranges(value)


def test_lists_of_a_file_are_ranges_too() -> None:
    assert is_ranges([[0, 2], [3, 4]])


def test_the_share_of_a_movement_that_null_elements_have() -> None:
    pre = np.zeros((2, 4), np.float32)
    post = np.array([[1, 0, -2, 0], [0, 0, 1, 0]], np.float32)
    assert noise_share(pre, post, [[2, 4]]) == pytest.approx(3 / 4)
    assert noise_share(pre, post, [[0, 1]]) == pytest.approx(1 / 4)
    assert noise_share(pre, pre, [[0, 4]]) == 0


def test_words() -> None:
    assert said("k", [[4, 16], [20, 32]], 32) == "24 of 32 elements of k in each layer cannot act"
    assert said("k", [[0, 1]], 2, "moved").endswith("1 of 2 elements of k in each layer moved")
