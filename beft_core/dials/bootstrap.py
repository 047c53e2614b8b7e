"""Metrics of many variants on many resamples of the same examples, all at once and always the same resamples.

A resample draws the examples with replacement, and every variant is scored on the same draws: differences between
variants are then paired, and their intervals as narrow as the examples allow (B. Efron and R. J. Tibshirani, An
Introduction to the Bootstrap, 1993). A resample is kept as how often it has each example, so that a metric of all
resamples is a product of matrices; what a metric is, is said by :data:`beft_core.tasks.metrics.METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from beft_core.errors import UserError
from beft_core.tasks.resamples import draws

RESAMPLES, SEED, PERCENTILES = 1000, 0, (2.5, 97.5)


def resampled(
    metric: str,
    predicted: np.ndarray,
    labels: np.ndarray,
    resamples: int = RESAMPLES,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Compute a metric of every variant on every resample.

    Args:
        metric: a key of :data:`beft_core.tasks.metrics.METRICS`.
        predicted: predictions [variants, examples], classes or finite values.
        labels: [examples].
        groups: as of :func:`beft_core.tasks.resamples.draws`.

    Returns:
        float64 [variants, resamples].

    Raises:
        UserError: a metric that cannot be resampled here.
    """
    if metric not in _METRICS:
        raise UserError(f"got the metric {metric[:40]!r}", f"one of {', '.join(_METRICS)}")
    score = _METRICS[metric](predicted, labels)
    blocks = (
        np.stack([score(variant, counts) for variant in range(len(predicted))])
        for counts in _draws(len(labels), resamples, groups)
    )
    return np.concatenate(list(blocks), axis=1)


def resampled_means(scores: np.ndarray, resamples: int = RESAMPLES, groups: np.ndarray | None = None) -> np.ndarray:
    """Compute the mean score of every variant on every resample, of a metric that is a mean over examples.

    ``scores``: of each variant on each example, float64 [variants, examples]. Returns float64 [variants, resamples],
    on the resamples that :func:`resampled` takes.
    """
    blocks = [
        counts @ scores.T / counts.sum(axis=1, keepdims=True) for counts in _draws(scores.shape[1], resamples, groups)
    ]
    return np.concatenate(blocks).T


def interval(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the ends of the 95 % interval of draws [..., resamples]; draws that are NaN are left out.

    NaN where more than half of them are.
    """
    unknown = np.isnan(draws)
    with np.errstate(invalid="ignore"):
        few = unknown.mean(axis=-1) > 0.5
    filled = np.where(few[..., None], 0.0, draws)
    low, high = np.nanpercentile(filled, PERCENTILES, axis=-1)
    return np.where(few, np.nan, low), np.where(few, np.nan, high)


def _draws(examples: int, resamples: int, groups: np.ndarray | None) -> Iterator[np.ndarray]:
    """Yield the resamples that every variant and every metric is scored on."""
    return draws(np.random.default_rng(SEED), examples, resamples, groups)


_Score = Callable[[int, np.ndarray], np.ndarray]
"""Function (number of a variant, counts [resamples, examples]) -> its metric on each resample."""


def _accuracy(predicted: np.ndarray, labels: np.ndarray) -> _Score:
    right = (predicted == labels).astype(np.float64)
    return lambda variant, counts: counts @ right[variant] / counts.sum(axis=1)


def _counted(predicted: np.ndarray, labels: np.ndarray) -> Callable[[int, np.ndarray], tuple[np.ndarray, ...]]:
    """Count classes: function (variant, counts) -> (right, predicted, labelled), each [resamples, classes]."""
    classes = np.arange(int(max(predicted.max(), labels.max())) + 1)
    labelled = (labels[:, None] == classes).astype(np.float64)

    def count(variant: int, counts: np.ndarray) -> tuple[np.ndarray, ...]:
        said = (predicted[variant][:, None] == classes).astype(np.float64)
        return counts @ (said * labelled), counts @ said, counts @ labelled

    return count


def _f1(predicted: np.ndarray, labels: np.ndarray) -> _Score:
    count = _counted(predicted, labels)

    def score(variant: int, counts: np.ndarray) -> np.ndarray:
        right, said, labelled = (
            part[:, 1] if part.shape[1] > 1 else np.zeros(len(part)) for part in count(variant, counts)
        )
        return _divided(2 * right, said + labelled)

    return score


def _f1_macro(predicted: np.ndarray, labels: np.ndarray) -> _Score:
    count = _counted(predicted, labels)

    def score(variant: int, counts: np.ndarray) -> np.ndarray:
        right, said, labelled = count(variant, counts)
        there = said + labelled > 0  # a class that a resample has nowhere is none of its classes
        return np.asarray(_divided(2 * right, said + labelled).sum(axis=1) / there.sum(axis=1))

    return score


def _mcc(predicted: np.ndarray, labels: np.ndarray) -> _Score:
    count = _counted(predicted, labels)

    def score(variant: int, counts: np.ndarray) -> np.ndarray:
        right, said, labelled = count(variant, counts)
        total = counts.sum(axis=1)
        together = total * right.sum(axis=1) - (said * labelled).sum(axis=1)
        spread = (total**2 - np.square(said).sum(axis=1)) * (total**2 - np.square(labelled).sum(axis=1))
        return _divided(together, np.sqrt(spread))

    return score


def _pearson(predicted: np.ndarray, labels: np.ndarray) -> _Score:
    y = labels.astype(np.float64) - labels.mean()

    def score(variant: int, counts: np.ndarray) -> np.ndarray:
        x = predicted[variant] - predicted[variant].mean()
        total = counts.sum(axis=1)
        mean_x, mean_y, xx, yy, xy = (counts @ values / total for values in (x, y, x * x, y * y, x * y))
        spread_x, spread_y = xx - np.square(mean_x), yy - np.square(mean_y)
        constant = (spread_x <= 1e-14 * xx) | (spread_y <= 1e-14 * yy)
        return _divided(np.where(constant, 0.0, xy - mean_x * mean_y), np.sqrt(np.abs(spread_x * spread_y)))

    return score


def _spearman(predicted: np.ndarray, labels: np.ndarray) -> _Score:
    sort_y = _Sorted(labels)
    known: list[tuple[np.ndarray, np.ndarray]] = []  # of the labels: one block of counts at a time

    def score(variant: int, counts: np.ndarray) -> np.ndarray:
        if not known or known[0][0] is not counts:
            known[:] = [(counts, sort_y.ranks(counts))]
        x, y = _Sorted(predicted[variant]).ranks(counts), known[0][1]
        weighted = counts * x
        spread = np.einsum("ij,ij->i", weighted, x) * np.einsum("ij,ij,ij->i", counts, y, y)
        return _divided(np.einsum("ij,ij->i", weighted, y), np.sqrt(spread))

    return score


class _Sorted:
    """Values [examples] in ascending order, equal ones as one group."""

    def __init__(self, values: np.ndarray) -> None:
        distinct, self.group = np.unique(values, return_inverse=True)
        self.order = np.argsort(self.group, kind="stable")
        self.starts = np.searchsorted(self.group[self.order], np.arange(len(distinct)))

    def ranks(self, counts: np.ndarray) -> np.ndarray:
        """Compute the mean rank of each value among all of its resample, less the mean of all: as ``counts``."""
        of_group = np.add.reduceat(counts[:, self.order], self.starts, axis=1)
        total = counts.sum(axis=1, keepdims=True)
        ranks = np.cumsum(of_group, axis=1) - (of_group - 1) / 2 - (total + 1) / 2
        return np.asarray(ranks[:, self.group])


def _divided(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Divide; 0 where the divisor is 0, as the metrics have it."""
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)


_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], _Score]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "mcc": _mcc,
    "pearson": _pearson,
    "spearman": _spearman,
}
