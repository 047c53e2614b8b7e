"""Resamples of examples, by which the error of a metric is told: how often each of them has each example.

A resample draws with replacement. Examples that are about one text, such as the questions on a passage, are right and
wrong together: they are drawn together too, or a few hard passages would pass for many hard questions, and intervals
would be too narrow (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK = 4_000_000
"""Most numbers in memory at once: 32 MB."""


def draws(
    rng: np.random.Generator, examples: int, resamples: int, groups: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield how often each resample has each example, float64 [some resamples, examples], until all are drawn.

    ``groups``: number of the text that each example is about, from 0 on [examples]; None: each has its own.
    """
    units = examples if groups is None else int(groups.max()) + 1
    at_once = max(1, BLOCK // examples)
    for start in range(0, resamples, at_once):
        some = min(at_once, resamples - start)
        drawn = rng.integers(0, units, (some, units)) + units * np.arange(some)[:, None]
        times = np.bincount(drawn.ravel(), minlength=some * units).reshape(some, units).astype(np.float64)
        yield times if groups is None else times[:, groups]


def numbered(groups: np.ndarray) -> np.ndarray | None:
    """Number the texts that examples are about from 0 on, int64 [examples]; None where each has its own, and where all
    are about a single one, of which no other could be drawn.
    """
    found, numbers = np.unique(groups, return_inverse=True)
    return None if len(found) in (1, len(groups)) else numbers.astype(np.int64)
