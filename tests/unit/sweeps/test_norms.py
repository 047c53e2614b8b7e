"""Norms of pre-trained biases, against sums by hand."""

from __future__ import annotations

import numpy as np
import pytest

from beft_core.sweeps.norms import pre_norms


def test_the_mean_over_layers_of_the_length_of_a_layers_bias() -> None:
    found = pre_norms(
        {
            ("encoder", "v"): np.array([[3.0, 4.0], [0.0, 1.0]], np.float32),
            ("encoder", "q"): np.zeros((2, 2), np.float32),
        }
    )
    assert found == {"pre_norm.v": 3.0, "pre_norm.q": 0.0}


def test_the_first_stack_counts() -> None:
    ones = np.ones((1, 4), np.float32)
    found = pre_norms({("encoder", "v"): ones, ("decoder", "v"): 9 * ones, ("decoder", "k"): ones})
    assert found == {"pre_norm.v": 2.0}
    assert pre_norms({}) == {}


def test_squares_do_not_overflow_the_biases_own_precision() -> None:
    assert pre_norms({("encoder", "v"): np.full((1, 4), 1e30, np.float32)})["pre_norm.v"] == pytest.approx(2e30)
    half = np.full((1, 4), 300.0, np.float16)  # 300 squared is beyond float16
    assert pre_norms({("encoder", "v"): half})["pre_norm.v"] == 600
