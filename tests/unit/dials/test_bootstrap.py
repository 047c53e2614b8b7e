"""Metrics of resamples, all at once, are what the metrics give for each resample drawn out one by one."""

from __future__ import annotations

import numpy as np
import pytest

from beft_core.dials import bootstrap
from beft_core.errors import UserError
from beft_core.tasks import resamples
from beft_core.tasks.metrics import METRICS

EXAMPLES, VARIANTS, RESAMPLES = 23, 3, 12


def drawn_out(metric: str, predicted: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """Every resample written out, and scored by the metric itself."""
    (counts,) = bootstrap._draws(len(labels), RESAMPLES, groups)
    at = [np.repeat(np.arange(len(labels)), row.astype(int)) for row in counts]
    return np.array([[METRICS[metric](one[rows], labels[rows]) for rows in at] for one in predicted])


@pytest.mark.parametrize("metric", ["accuracy", "f1", "mcc"])
def test_two_classes(metric: str) -> None:
    rng = np.random.default_rng(1)
    labels, predicted = rng.integers(0, 2, EXAMPLES), rng.integers(0, 2, (VARIANTS, EXAMPLES))
    predicted[2] = 1  # a constant answer
    found = bootstrap.resampled(metric, predicted, labels, RESAMPLES)
    np.testing.assert_allclose(found, drawn_out(metric, predicted, labels), atol=1e-12)


@pytest.mark.parametrize("metric", ["f1_macro", "mcc", "accuracy"])
def test_classes_that_some_resamples_lack(metric: str) -> None:
    rng = np.random.default_rng(2)
    labels, predicted = rng.integers(0, 3, EXAMPLES), rng.integers(0, 3, (VARIANTS, EXAMPLES))
    labels[0] = predicted[1, 4] = 5  # rare ones: every third resample is without the label
    found = bootstrap.resampled(metric, predicted, labels, RESAMPLES)
    np.testing.assert_allclose(found, drawn_out(metric, predicted, labels), atol=1e-12)


@pytest.mark.parametrize("metric", ["spearman", "pearson"])
def test_numbers(metric: str) -> None:
    rng = np.random.default_rng(3)
    labels = np.round(rng.random(EXAMPLES) * 5, 0).astype(np.float32)  # with ties
    predicted = labels + rng.normal(size=(VARIANTS, EXAMPLES)) + 100.0
    predicted[1] = np.round(predicted[1])
    predicted[2] = 7.3
    found = bootstrap.resampled(metric, predicted, labels, RESAMPLES)
    np.testing.assert_allclose(found, drawn_out(metric, predicted, labels), atol=1e-9)


@pytest.mark.parametrize("metric", list(METRICS))
def test_examples_about_one_text_are_drawn_together(metric: str) -> None:
    """So that resamples have more and fewer examples than there are."""
    rng = np.random.default_rng(6)
    labels, predicted = rng.integers(0, 2, EXAMPLES), rng.integers(0, 2, (VARIANTS, EXAMPLES))
    groups = np.sort(rng.integers(0, 9, EXAMPLES))
    found = bootstrap.resampled(metric, predicted, labels, RESAMPLES, groups)
    np.testing.assert_allclose(found, drawn_out(metric, predicted, labels, groups), atol=1e-9)
    if metric == "accuracy":
        means = bootstrap.resampled_means((predicted == labels).astype(np.float64), RESAMPLES, groups)
        np.testing.assert_allclose(means, found, atol=1e-12)


def test_draws_are_the_same_every_time_and_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    labels, predicted = rng.random(EXAMPLES), rng.random((2, EXAMPLES))
    whole = bootstrap.resampled("spearman", predicted, labels, RESAMPLES)
    monkeypatch.setattr(resamples, "BLOCK", 5 * EXAMPLES)
    np.testing.assert_array_equal(bootstrap.resampled("spearman", predicted, labels, RESAMPLES), whole)
    assert whole.std() > 0


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(UserError, match="got the metric 'bleu'"):
        bootstrap.resampled("bleu", np.zeros((1, 2)), np.zeros(2))


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        right = (rng.random(60) < 0.7).astype(int)
        draws = bootstrap.resampled("accuracy", right[None], np.ones(60, int), 200)
        low, high = bootstrap.interval(draws)
        covered += bool(low[0] <= 0.7 <= high[0])
    assert 0.88 <= covered / 200 <= 0.985


def test_intervals_leave_out_what_is_not_known() -> None:
    draws = np.stack([np.arange(100.0), np.full(100, np.nan)])
    draws[0, :10] = np.nan
    low, high = bootstrap.interval(draws)
    assert low[0] == pytest.approx(12.225) and high[0] == pytest.approx(96.775)
    assert np.isnan(low[1]) and np.isnan(high[1])


def test_means_take_the_resamples_of_all_metrics() -> None:
    rng = np.random.default_rng(0)
    right = rng.integers(0, 2, (3, 40)).astype(np.float64)
    assert (bootstrap.resampled_means(right) == bootstrap.resampled("accuracy", right, np.ones(40))).all()
