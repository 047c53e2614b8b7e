"""Hashed dropout: the hash is the one it claims to be, masks look random, backward uses the same mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dropout_law import check_share_scale_and_gradient
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from beft_core.training.acceleration.hashed_dropout import (
    HashedDropout,
    hand_out_keys,
    hashed,
    hashed_dropout,
    threshold_of,
)

WORDS = st.integers(-(2**31), 2**31 - 1)
CPU = torch.device("cpu")


def lowbias32(x: int, first_key: int, second_key: int) -> int:
    """The hash in unbounded integers, cut to 32 bits after every operation."""
    cut = 0xFFFFFFFF
    x = (x ^ first_key) & cut
    x ^= x >> 16
    x = x * 0x7FEB352D & cut
    x ^= x >> 15
    x = (x + second_key) & cut
    x = x * 0x846CA68B & cut
    x ^= x >> 16
    return x if x < 2**31 else x - 2**32


@given(st.lists(WORDS, min_size=1, max_size=20), WORDS, WORDS)
def test_the_hash(numbers: list[int], first: int, second: int) -> None:
    out = hashed(torch.tensor(numbers, dtype=torch.int32), torch.tensor([first, second], dtype=torch.int32))
    assert out.dtype == torch.int32
    assert out.tolist() == [lowbias32(x, first, second) for x in numbers]


def dropout(p: float, seed: int = 0) -> HashedDropout:
    torch.manual_seed(seed)
    module = HashedDropout(p)
    hand_out_keys([module], CPU)
    return module


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5])
def test_share_scale_and_gradient(p: float) -> None:
    check_share_scale_and_gradient(dropout(p), p, scale_tolerance=1e-6)


def test_neighbours_rows_bits_and_keys_are_independent() -> None:
    kept = [(dropout(0.3, seed)(torch.ones(2000, 256)) != 0).double() - 0.7 for seed in (1, 2)]
    flat = kept[0].flatten()
    limit = 5 / len(flat) ** 0.5
    for shift in (1, 2, 3, 4, 8, 64, 256, 1024, 65536):
        assert abs((flat[:-shift] * flat[shift:]).mean() / flat.var()) < limit
    assert abs((kept[0] * kept[1]).mean() / flat.var()) < limit
    # Sums over rows and columns scatter as those of independent draws: chi-squared with as many degrees of freedom.
    for axis, count in ((0, 256), (1, 2000)):
        scaled = kept[0].sum(axis).square().sum() / (flat.var() * kept[0].shape[axis])
        assert abs(scaled - count) < 5 * (2 * count) ** 0.5


def test_two_modules_and_two_passes_drop_different_elements() -> None:
    modules = [HashedDropout(0.5), HashedDropout(0.5)]
    seen = []
    for _ in range(2):
        hand_out_keys(modules, CPU)
        seen += [module(torch.ones(64)).tolist() for module in modules]
    assert len({tuple(mask) for mask in seen}) == 4
    assert dropout(0.5, 7)(torch.ones(64)).tolist() == dropout(0.5, 7)(torch.ones(64)).tolist()


def test_nothing_is_dropped_outside_of_training_or_with_probability_zero() -> None:
    x = torch.randn(5, 5)
    assert HashedDropout(0.5).eval()(x) is x
    assert HashedDropout(0.0)(x) is x
    assert threshold_of(0.0) == (-(2**31), 1.0)


def test_a_probability_of_one_drops_all_but_one_in_four_billion() -> None:
    threshold, scale = threshold_of(1.0)
    assert threshold == 2**31 - 1 and scale == 2**32
    assert np.isfinite(scale)


def test_modules_stand_in_for_dropout_while_it_is_open() -> None:
    layer = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.2)), nn.Dropout(0.4).eval(), nn.AlphaDropout(0.1))
    inner, last = layer[1][0], layer[2]
    with hashed_dropout([layer]) as modules:
        assert modules == [layer[2], layer[1][0]]
        assert [(type(one), one.p, one.training) for one in modules] == [
            (HashedDropout, 0.4, False),
            (HashedDropout, 0.2, True),
        ]
        assert isinstance(layer[3], nn.AlphaDropout)
    assert layer[1][0] is inner and layer[2] is last
