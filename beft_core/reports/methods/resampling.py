"""Intervals of methods and of their differences: a bootstrap over validation examples and seeds at once.

Every resample draws examples and, among them, seeds, with replacement, and the same ones for every method: so a
difference between methods is paired by example and by seed, and how hard the drawn examples are plays no part in it.
Examples that are about one text are drawn together (:mod:`beft_core.tasks.resamples`).
Three drawn of three seeds vary much less than three new ones would: where seeds matter most, the interval would hold
the mean in three cases of four. So how far drawn seeds are from all is widened until their part is Student's interval.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from beft_core.errors import UserError
from beft_core.reports.paired import LEVEL, RESAMPLES, SEED, WEIGHTED, error_of, flip_p
from beft_core.reports.selection.contests import critical_t, two_sided_p
from beft_core.tasks.constant_answer import PROPORTIONS, constant_answers, judged
from beft_core.tasks.predictions import Predictions
from beft_core.tasks.resamples import draws, numbered

NORMAL = 1.959964
"""Standard errors to either side of a mean that hold 95 % of a normal distribution."""
ALIKE = 1e-9
"""Largest difference between mean errors on an example that still counts as none."""


@dataclass(frozen=True)
class Interval:
    """Value with its 95 % interval."""

    value: float
    low: float
    high: float


def metric_in(metric: str) -> str | None:
    """Find the metric of weighted examples that a fine-tune's metric is, such as ``accuracy`` for ``accuracy_matched``;
    None where there is none, as for free text.
    """
    found = [name for name in WEIGHTED if metric == name or metric.startswith(f"{name}_")]
    return max(found, key=len, default=None)


class Resampled:
    """Metrics of several methods, each with one fine-tune per seed, on the same resamples of examples.

    Raises:
        UserError: methods that have no example in common, or other labels for it.
    """

    def __init__(
        self,
        predictions: Mapping[str, Mapping[int, Predictions]],
        metric: str,
        resamples: int = RESAMPLES,
        seed: int = SEED,
        untrained: Collection[str] = (),
    ) -> None:
        """Resample.

        ``predictions``: method -> seed -> what it predicts; ``metric``: a key of ``paired.WEIGHTED``; ``untrained``:
        methods that train nothing, whose single run stands for every seed.
        """
        self.metric = metric
        self._untrained = frozenset(untrained)
        self._runs = _on_the_same_examples(predictions)
        first = next(one for runs in self._runs.values() for one in runs.values())
        self.examples = len(first)
        self._groups = _groups_of(self._runs)
        self._units = self.examples if self._groups is None else int(self._groups.max()) + 1
        """Number of what is drawn: examples, or the texts that they are about."""
        rng = np.random.default_rng([seed, self.examples])
        compute = WEIGHTED[metric]
        self._values: dict[str, dict[int, np.ndarray]] = {name: {} for name in self._runs}
        self._whole: dict[str, dict[int, float]] = {name: {} for name in self._runs}
        once = np.ones((1, self.examples))
        constant = _best_constant(first, metric)
        of_constant: list[np.ndarray] = []
        parts: dict[tuple[str, int], list[np.ndarray]] = {}
        for weights in draws(rng, self.examples, resamples, self._groups):
            for name, runs in self._runs.items():
                for number, one in runs.items():
                    parts.setdefault((name, number), []).append(compute(one.predicted, one.judged, weights))
            of_constant.append(np.zeros(len(weights)) if constant is None else compute(*constant, weights))
        for (name, number), found in parts.items():
            one = self._runs[name][number]
            self._values[name][number] = np.concatenate(found)
            self._whole[name][number] = float(compute(one.predicted, one.judged, once)[0])
        self._constant = np.concatenate(of_constant)
        self.constant = 0.0 if constant is None else float(compute(*constant, once)[0])
        """Metric of the best constant answer; 0 for correlations."""
        most = max(map(len, self._runs.values()))
        self._draws = np.random.default_rng([seed, self.examples, 1]).random((resamples, most))
        """Uniform numbers that draw the seeds of each resample: [resamples, most seeds]."""

    @property
    def methods(self) -> list[str]:
        """Names of the methods that have predictions."""
        return list(self._runs)

    def interval(self, method: str) -> Interval:
        """Compute the mean over a method's seeds, with its interval."""
        whole = self._whole[method]
        low, high = _ends(self._mean(method, sorted(whole)))
        least = 0.0 if self.metric in PROPORTIONS else -1.0
        return Interval(float(np.mean(list(whole.values()))), max(least, low), min(1.0, high))

    def above_constant(self, method: str) -> Interval:
        """Compute how far the mean over a method's seeds is above the best constant answer."""
        whole = self._whole[method]
        value = float(np.mean(list(whole.values()))) - self.constant
        return Interval(value, *_ends(self._mean(method, sorted(whole)) - self._constant))

    def seeds_at_constant(self, method: str) -> int:
        """Count the seeds whose own distance to the best constant answer has an interval that reaches 0 or below."""
        return sum(_ends(values - self._constant)[0] <= 0 for values in self._values[method].values())

    def count_pairs(self, first: str, second: str) -> int:
        """Count the seeds by which two methods are paired: those that both have; 1 where one trains nothing. Raises
        UserError as :meth:`difference`.
        """
        return min(map(len, self._paired_seeds(first, second)))

    def difference(self, first: str, second: str) -> Interval:
        """Compute the mean over seeds of one method minus that of another, with its paired interval.

        A method that trains nothing stands beside every seed of the other. One of which a single seed did not fail is
        compared by that seed alone: beside the mean of all of the other's it would be of other examples.

        Raises:
            UserError: two methods that are trained, without a seed that both have.
        """
        seeds = self._paired_seeds(first, second)
        both = [self._mean(name, own) for name, own in zip((first, second), seeds, strict=True)]
        value = float(np.mean([self._whole[first][s] for s in seeds[0]]))
        value -= float(np.mean([self._whole[second][s] for s in seeds[1]]))
        return Interval(value, *_ends(both[0] - both[1]))

    def split(self, first: str, second: str) -> tuple[int, int, int]:
        """Count the examples on which the first is right in more seeds, or nearer on average, on which the second is,
        and on which they are alike. Raises UserError as :meth:`difference`.
        """
        better = self._better(first, second)
        more, less = int((better > 0).sum()), int((better < 0).sum())
        return more, less, self.examples - more - less

    def _better(self, first: str, second: str) -> np.ndarray:
        """Find which is the better one on each example: 1 the first, -1 the second, 0 both alike, [examples]."""
        seeds = self._paired_seeds(first, second)
        errors = [
            np.mean([error_of(self._runs[name][number]) for number in own], axis=0)
            for name, own in zip((first, second), seeds, strict=True)
        ]
        away = errors[1] - errors[0]
        return np.sign(np.where(np.abs(away) > ALIKE, away, 0.0)).astype(np.int64)

    def p(self, first: str, second: str) -> float:
        """Compute the two-sided probability of as large a difference, were both methods as good.

        Of one fine-tune each this is McNemar's exact test of :meth:`split` (of numbers, the sign test; where examples
        are about one text, :func:`beft_core.reports.paired.flip_p`). That takes examples for all that is drawn, and
        where there are several seeds, another three could turn out otherwise: so then it is Student's t of the
        difference, over the root of two variances, those of the mean over seeds between resamples of the examples and
        of that mean between seeds. What a seed does to a single example is in both, which errs on the safe side. The
        degrees of freedom are Satterthwaite's, rounded down. Raises UserError as :meth:`difference`.
        """
        seeds = self._paired_seeds(first, second)
        if max(map(len, seeds)) == 1:
            return flip_p(self._better(first, second), self._groups)
        names = (first, second)
        means = [np.mean([self._values[name][s] for s in own], axis=0) for name, own in zip(names, seeds, strict=True)]
        whole = [np.array([self._whole[name][s] for s in own]) for name, own in zip(names, seeds, strict=True)]
        apart = whole[0] - whole[1]  # by seed; of a method that trains nothing, its one run beside each seed
        examples, between = float(np.var(means[0] - means[1], ddof=1)), float(np.var(apart, ddof=1)) / len(apart)
        if (variance := examples + between) < ALIKE**2:
            return 1.0 if abs(apart.mean()) < ALIKE else 0.0
        freedom = variance**2 / (examples**2 / max(1, self._units - 1) + between**2 / (len(apart) - 1))
        return two_sided_p(float(apart.mean()) / math.sqrt(variance), int(freedom + ALIKE))

    def _paired_seeds(self, first: str, second: str) -> tuple[list[int], list[int]]:
        own = sorted(self._whole[first]), sorted(self._whole[second])
        if any(len(seeds) == 1 for name, seeds in zip((first, second), own, strict=True) if name in self._untrained):
            return own
        both = sorted({*own[0]} & {*own[1]})
        if not both:
            raise UserError(f"got {first} and {second} without a seed in common", "fine-tunes of the same seeds")
        return both, both

    def _mean(self, method: str, seeds: Sequence[int]) -> np.ndarray:
        """Average a method over drawn seeds: [resamples]. The k-th draw is the same for every method of as many."""
        values = np.stack([self._values[method][number] for number in seeds])
        picks = (self._draws[:, : len(seeds)] * len(seeds)).astype(np.int64)
        whole = np.array([self._whole[method][number] for number in seeds])
        # How far seeds are from their mean is taken from all examples: drawn ones would put their noise in once more.
        away = (whole - whole.mean())[picks].mean(axis=1)
        return np.asarray(values.mean(axis=0) + widening(len(seeds)) * away)


def widening(seeds: int) -> float:
    """Compute how many times as far from their mean a bootstrap's draws of so few seeds must lie, so that they spread
    as Student's interval of the mean does.

    Draws of n values have n - 1 instead of n in their variance, and ends that are a normal distribution's.
    """
    return 1.0 if seeds < 2 else critical_t(seeds - 1) / NORMAL * math.sqrt(seeds / (seeds - 1))


def holm(probabilities: Sequence[float]) -> list[float]:
    """Correct probabilities for how many they are, by Holm's step-down method, in their own order."""
    order = np.argsort(probabilities, kind="stable")
    corrected, largest = [0.0] * len(probabilities), 0.0
    for rank, at in enumerate(order.tolist()):
        largest = max(largest, min(1.0, (len(probabilities) - rank) * probabilities[at]))
        corrected[at] = largest
    return corrected


def _ends(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _best_constant(one: Predictions, metric: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Make the predictions of the best constant answer, and the labels that they are compared with; None where any
    gets 0.
    """
    if metric not in PROPORTIONS or one.regression:
        return None
    once = np.ones((1, len(one)))
    said = [np.full(len(one), float(answer)) for answer in constant_answers(one.labels, metric, one.golds)]
    tried = [(constant, judged(constant, one.labels, one.golds)) for constant in said]
    return max(tried, key=lambda one: float(WEIGHTED[metric](one[0], one[1], once)[0]))


def _on_the_same_examples(
    predictions: Mapping[str, Mapping[int, Predictions]],
) -> dict[str, dict[int, Predictions]]:
    """Keep of every fine-tune the examples that all have, in one order; of several validation sets the first alone."""
    runs = {name: dict(of_seed) for name, of_seed in predictions.items() if of_seed}
    flat = [(name, number, _first_set(one)) for name, of_seed in runs.items() for number, one in of_seed.items()]
    if not flat:
        raise UserError("got no predictions", "some of at least one fine-tune")
    common = flat[0][2].keys
    for _, _, one in flat[1:]:
        common = np.intersect1d(common, one.keys, assume_unique=True)
    if not len(common):
        raise UserError("got no example that all methods predicted", "fine-tunes that were scored on the same examples")
    common = np.sort(common)
    labels = None
    found: dict[str, dict[int, Predictions]] = {}
    for name, number, one in flat:
        order = np.argsort(one.keys)
        own = one.take(order[np.searchsorted(one.keys[order], common)])
        labels = own.labels if labels is None else labels
        if (own.labels != labels).any():
            raise UserError(
                "got other labels for the same examples", "fine-tunes that were scored on the same examples"
            )
        found.setdefault(name, {})[number] = own
    return found


def _groups_of(runs: Mapping[str, Mapping[int, Predictions]]) -> np.ndarray | None:
    """Number the texts that examples are about, by the first run that says; None where each has its own."""
    known = (one.groups for of_seed in runs.values() for one in of_seed.values() if one.groups is not None)
    groups = next(known, None)
    return None if groups is None else numbered(groups)


def _first_set(one: Predictions) -> Predictions:
    if not one.sets:
        return one
    return one.take(np.flatnonzero(np.array(one.sets) == one.sets[0]))
