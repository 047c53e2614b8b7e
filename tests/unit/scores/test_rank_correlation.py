"""Rank correlations equal scipy's, of one pair and of many at once."""

from __future__ import annotations

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kendalltau, spearmanr

from beft_core.scores.rank_correlation import kendall_tau, spearman_rho


@given(arrays(np.int64, (2, 7), elements=st.integers(0, 4)))
def test_rank_correlations_equal_scipys(values: np.ndarray) -> None:
    x, y = values.astype(float)
    np.testing.assert_allclose(kendall_tau(x, y), kendalltau(x, y).statistic, atol=1e-12)
    if np.ptp(x) and np.ptp(y):
        np.testing.assert_allclose(spearman_rho(x, y), spearmanr(x, y).statistic, atol=1e-12)
    else:
        assert np.isnan(spearman_rho(x, y))


def test_rank_correlations_of_one_term_are_unknown() -> None:
    assert np.isnan(kendall_tau(np.ones(1), np.ones(1))) and np.isnan(spearman_rho(np.ones(1), np.ones(1)))


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 6), min_size=1, max_size=20))
def test_tau_is_scipys(lines: list[tuple[int, ...]]) -> None:
    array = np.array(lines, float)
    ours = kendall_tau(array[:, :3], array[:, 3:])
    theirs = [kendalltau(line[:3], line[3:], variant="b").statistic for line in array]
    np.testing.assert_allclose(ours, theirs, atol=1e-12)  # NaN where scipy says NaN


def test_memory_grows_with_the_number_of_values() -> None:
    """Not with its square: a table has tens of thousands of pairs of a score and a metric."""
    values = np.random.default_rng(0).random((2, 4000))
    tracemalloc.start()
    found = spearman_rho(*values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(found, spearmanr(*values).statistic, atol=1e-12)
    assert peak < 2**20
