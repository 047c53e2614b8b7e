"""Comparison of two fine-tunes on the same examples: who is right where the other is wrong, and by how much a metric
differs.

Both tests are paired: they look at differences on one and the same example, so that how hard the examples are plays no
part. Numpy alone computes them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from beft_core.counted import counted
from beft_core.errors import UserError
from beft_core.tasks.predictions import MISSING, Predictions
from beft_core.tasks.resamples import draws, numbered

RESAMPLES, SEED = 2000, 0
"""Number of resamples of the bootstrap, and the seed that draws them."""
LEVEL = 0.95
"""Share of the resamples that an interval covers."""
SURE = 0.05
"""Probability below which a difference is called more than chance."""
EXACT_STEPS = 2e8
"""Most additions by which a probability is computed exactly, less than a second; beyond it is a normal
distribution's.
"""


@dataclass(frozen=True, eq=False)
class Matched:
    """Predictions of two fine-tunes for the examples that both have, in the order of the first."""

    a: Predictions
    b: Predictions
    left_out: int
    """Number of examples that only one of them has."""

    @property
    def better(self) -> np.ndarray:
        """Which is right where the other is not, or nearer to the label: 1 the first, -1 the second, 0 both alike."""
        return np.sign(error_of(self.b) - error_of(self.a)).astype(np.int64)

    @property
    def groups(self) -> np.ndarray | None:
        """Number of the text that each example is about, from 0 on [examples]; None: each has its own."""
        known = self.a.groups if self.a.groups is not None else self.b.groups
        return None if known is None else numbered(known)


@dataclass(frozen=True)
class SignTest:
    """Exact test of how often one of two is better: McNemar's, or of a regression the sign test of the errors; where
    examples are about one text, :func:`flip_p`.
    """

    first: int
    """Number of examples on which only the first is right, or on which it is nearer."""
    second: int
    alike: int
    """Number of examples on which they are alike."""
    p: float
    """Probability of a split at least as uneven, were both as good: two-sided."""

    @property
    def sure(self) -> bool:
        """Whether the split is called more than chance."""
        return self.p < SURE


@dataclass(frozen=True)
class Difference:
    """Difference of a metric between two fine-tunes, with the interval of a paired bootstrap over examples."""

    metric: str
    first: float
    second: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """Metric of the first minus that of the second."""
        return self.first - self.second

    @property
    def sure(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


def match(a: Predictions, b: Predictions) -> Matched:
    """Find the examples that two fine-tunes share.

    Where examples have candidates of their own, as many outputs are stored as the example with most has, so that runs
    that were scored on fewer examples may have fewer; of those that both have the rest is
    :data:`beft_core.tasks.predictions.MISSING`.

    Raises:
        UserError: other tasks, other kinds of outputs, no common example, or labels that disagree.
    """
    if a.task != b.task or a.regression != b.regression:
        raise UserError(f"got predictions for {a.task} and for {b.task}", "two fine-tunes of one task")
    common, at_a, at_b = np.intersect1d(a.keys, b.keys, assume_unique=True, return_indices=True)
    if not len(common):
        raise UserError("got no example that both predicted", "fine-tunes that were scored on the same examples")
    order = np.argsort(at_a)
    first, second = a.take(at_a[order]), b.take(at_b[order])
    least, most = sorted((first, second), key=lambda one: one.logits.shape[1])
    outputs = least.logits.shape[1]
    if (most.logits[:, outputs:] != np.float32(MISSING)).any():
        found = " and ".join(str(one.logits.shape[1]) for one in (a, b))
        raise UserError(f"got {found} outputs for the same examples of {a.task}", "two fine-tunes of one task")
    first, second = (replace(one, logits=one.logits[:, :outputs]) for one in (first, second))
    if (first.labels != second.labels).any():
        raise UserError("got other labels for the same examples", "fine-tunes that were scored on the same examples")
    return Matched(first, second, len(a) + len(b) - 2 * len(common))


def sign_test(matched: Matched) -> SignTest:
    """Compare two fine-tunes by how often one is better: McNemar's exact test, for classes."""
    better = matched.better
    first, second = int((better > 0).sum()), int((better < 0).sum())
    return SignTest(first, second, len(better) - first - second, flip_p(better, matched.groups))


def binomial_p(first: int, second: int) -> float:
    """Compute the two-sided probability of a split of fair coins at least as uneven as this one, exactly."""
    n, least = first + second, min(first, second)
    if first == second:
        return 1.0
    ways, total = 1, 1
    for k in range(1, least + 1):
        ways = ways * (n - k + 1) // k
        total += ways
    return min(1.0, 2 * total / 2**n)


def flip_p(better: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Compute the two-sided probability of a split at least as uneven, were it a coin for each text which of the two is
    the better one on its examples: they are easy or hard together, so that they are no independent coins.

    Exact: where each example has a text of its own, that of :func:`binomial_p`.

    Args:
        better: 1 where the first is better, -1 the second, 0 both alike [examples].
        groups: as of :func:`beft_core.tasks.resamples.draws`.
    """
    if groups is None:
        return binomial_p(int((better > 0).sum()), int((better < 0).sum()))
    by_text = np.abs(np.bincount(groups, better)).astype(np.int64)
    by_text = by_text[by_text > 0]
    found, most = abs(int(better.sum())), int(by_text.sum())
    if len(by_text) * most > EXACT_STEPS:
        return math.erfc(found / math.sqrt(2 * float(np.square(by_text).sum())))
    ways = np.ones(1)  # probability of each sum, from the least to the most
    for one in by_text.tolist():
        ways = (np.pad(ways, (2 * one, 0)) + np.pad(ways, (0, 2 * one))) / 2
    return min(1.0, float(ways[np.abs(np.arange(-most, most + 1)) >= found].sum()))


def difference(matched: Matched, metric: str, resamples: int = RESAMPLES, seed: int = SEED) -> Difference:
    """Compare two fine-tunes by a metric, a key of :data:`WEIGHTED`: each resample draws examples for both at once, and
    those that are about one text together.
    """
    compute = WEIGHTED[metric]
    n = len(matched.a)
    sides = [(side.predicted, side.judged) for side in (matched.a, matched.b)]
    once = np.ones((1, n))
    first, second = (float(compute(*side, once)[0]) for side in sides)
    found = [
        compute(*sides[0], weights) - compute(*sides[1], weights)
        for weights in draws(np.random.default_rng(seed), n, resamples, matched.groups)
    ]
    low, high = np.quantile(np.concatenate(found), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(metric, first, second, float(low), float(high))


def in_words(test: SignTest, a: str, b: str, regression: bool = False) -> str:
    """Say what the test found in plain English; ``a``, ``b``: names of the fine-tunes."""
    if not test.first and not test.second:
        return f"{a} and {b} are {'equally near' if regression else 'right and wrong'} on the same examples."
    doing = f"is nearer to the label than {b}" if regression else f"is right where {b} is wrong"
    chance = "more than chance" if test.sure else "no more than chance may do"
    return f"{a} {doing} {_times(test.first)}, the reverse {_times(test.second)}: {chance}, p = {p_in_words(test.p)}."


def difference_in_words(found: Difference, a: str, b: str) -> str:
    """Say how far a metric differs, and whether that is more than the choice of examples may do."""
    name = found.metric.replace("_", " ")
    # Nothing is shown as 0 that is not, but for rounding; the verdict says whether the interval holds it.
    shown = [0.0 if abs(one) < 1e-9 else one for one in (found.value, found.low, found.high)]
    digits = next((at for at in range(3, 7) if all(round(one, at) or not one for one in shown)), 7)
    value, low, high = (f"{one:+.{digits}f}" for one in shown)
    ends = f"{name} {found.first:.{digits}f} against {found.second:.{digits}f}, a difference of {value}"
    interval = f"95 % interval {low} to {high}"
    return f"{a} against {b}: {ends} ({interval}: {'0 is outside' if found.sure else '0 is inside'})."


def p_in_words(p: float) -> str:
    """Write a probability without an exponent while that can be read: 0.31, 0.00001, 2e-12.

    One near :data:`SURE` has as many digits as tell it from that: 0.049 is more than chance, 0.054 is not.
    """
    if p == 0:
        return f"{sys.float_info.min:.0e} or less"
    if p >= 0.01:
        return f"{p:.{next(digits for digits in range(2, 20) if round(p, digits) != SURE or p == SURE)}f}"
    digits = -math.floor(math.log10(p))
    return f"{p:.{digits}f}" if digits <= 6 else f"{p:.0e}"


def _times(count: int) -> str:
    return counted(count, "time")


def error_of(one: Predictions) -> np.ndarray:
    """Compute how far each prediction is from its label; of a class 0 or 1."""
    away = np.abs(one.predicted - one.judged)
    return away if one.regression else np.minimum(away, 1.0)


# --- metrics of weighted examples: (predicted [n], labels [n], weights [resamples, n]) -> [resamples] -----------------

Weighted = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _confusion(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Count pairs of label and prediction in each resample: [resamples, classes, classes]."""
    classes = int(max(predicted.max(), labels.max())) + 1
    cell = (labels * classes + predicted).astype(np.int64)
    found, index = np.unique(cell, return_inverse=True)  # of a thousand classes only the pairs that occur
    counts = np.zeros((len(weights), classes * classes))
    one_hot = np.zeros((len(cell), len(found)))
    one_hot[np.arange(len(cell)), index] = 1
    counts[:, found] = weights @ one_hot
    return counts.reshape(-1, classes, classes)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Divide, where dividing by 0 gives 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)


def _accuracy(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    share: np.ndarray = weights @ (predicted == labels) / weights.sum(axis=1)
    return share


def _f1_by_class(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute F1 of each class, and how often each is a label or a prediction: [resamples, classes] both."""
    hits = np.diagonal(counts, axis1=1, axis2=2)
    either = counts.sum(axis=1) + counts.sum(axis=2)
    return _ratio(2 * hits, either), either


def _f1(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    by_class, _ = _f1_by_class(_confusion(predicted, labels, weights))
    return by_class[:, 1] if by_class.shape[1] > 1 else np.zeros(len(weights))


def _f1_macro(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    by_class, either = _f1_by_class(_confusion(predicted, labels, weights))
    return _ratio(by_class.sum(axis=1), (either > 0).sum(axis=1).astype(np.float64))


def _mcc(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    counts = _confusion(predicted, labels, weights)
    total, hits = counts.sum(axis=(1, 2)), np.trace(counts, axis1=1, axis2=2)
    truth, said = counts.sum(axis=2), counts.sum(axis=1)
    below = (total**2 - (truth**2).sum(1)) * (total**2 - (said**2).sum(1))
    return _ratio(hits * total - (truth * said).sum(1), np.sqrt(below))


def _pearson(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return _correlation(predicted[None], labels[None], weights)


def _spearman(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return _correlation(_ranks(predicted, weights), _ranks(labels, weights), weights)


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rank examples that are there several times, ties sharing their mean rank: [resamples, n]."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(group[order]) > 0])
    size = np.add.reduceat(weights[:, order], starts, axis=1)  # of each group of equal values
    mean = np.cumsum(size, axis=1) - (size - 1) / 2
    ranks: np.ndarray = mean[:, group]
    return ranks


def _correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Correlate two rows of values over weighted examples; 0 where one of them is constant."""
    total = weights.sum(axis=1, keepdims=True)
    x = x - (weights * x).sum(axis=1, keepdims=True) / total
    y = y - (weights * y).sum(axis=1, keepdims=True) / total
    xx, yy = (weights * x * x).sum(axis=1), (weights * y * y).sum(axis=1)
    below = np.sqrt(xx * yy)
    tiny = 1e-12 * total[:, 0]
    below[(xx <= tiny) | (yy <= tiny)] = 0.0
    return _ratio((weights * x * y).sum(axis=1), below)


WEIGHTED: dict[str, Weighted] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "mcc": _mcc,
    "pearson": _pearson,
    "spearman": _spearman,
}
"""Metrics of weighted examples by name, equal to those of :data:`beft_core.tasks.metrics.METRICS` on the examples as
often as they weigh.
"""
