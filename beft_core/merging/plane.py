"""Plane of two fine-tunes: every mixture ``pre + α·dA + β·dB`` of their changes from one base; numpy only.

The base is (0, 0), the fine-tunes are (1, 0) and (0, 1), their average is (0.5, 0.5), and their sum (1, 1). A grid of
points is scored in one evaluation (:mod:`beft_core.merging.evaluate`); between its points metrics are interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from beft_core.merging.result import MergeResult
from beft_core.snapshots.snapshot import Key, Snapshot

LOW, HIGH = -0.25, 1.25
"""Ends of both sides of the plane: a little beyond the fine-tunes."""
SIDES: tuple[int, ...] = (7, 13)
"""Numbers of points on a side: steps of 1/4 and of 1/8, so that 0, 1/2 and 1 are among them."""


def grid(side: int) -> list[tuple[float, float]]:
    """List the points of a grid, those of one alpha after the other; none for 0 points on a side."""
    shares = np.linspace(LOW, HIGH, side).round(6).tolist()
    return [(alpha, beta) for alpha in shares for beta in shares]


def at_point(first: Snapshot, second: Snapshot, key: Key, alpha: float, beta: float) -> np.ndarray:
    """Compute the biases of a term at a point, float32 [layers, width]; at the corners they are what is stored, to the
    bit.
    """
    stored = {(0.0, 0.0): first.pre, (1.0, 0.0): first.post, (0.0, 1.0): second.post}
    if (alpha, beta) in stored:
        return stored[alpha, beta](*key)
    pre = first.pre(*key).astype(np.float64)
    mixed: np.ndarray = pre + (alpha * (first.post(*key) - pre) + beta * (second.post(*key) - pre))
    return mixed.astype(np.float32)


@dataclass(frozen=True)
class Surface:
    """Metric of one task over the plane."""

    task: str
    alphas: np.ndarray
    betas: np.ndarray
    values: np.ndarray
    """Metric in percent, [alphas, betas]; NaN where it was not finite."""

    def at(self, alpha: float, beta: float) -> float:
        """Interpolate the metric between the four points around a place, linearly on both axes.

        Outside of the grid it is that of the nearest point of its border.
        """
        a, b = self._place(self.alphas, alpha), self._place(self.betas, beta)
        (low_a, share_a), (low_b, share_b) = a, b
        corner = self.values[low_a : low_a + 2, low_b : low_b + 2]
        weights = np.outer((1 - share_a, share_a), (1 - share_b, share_b))
        # A point that has no weight does not spoil the others, also where it was not finite.
        return float((corner * weights)[weights > 0].sum())

    @staticmethod
    def _place(axis: np.ndarray, value: float) -> tuple[int, float]:
        value = float(np.clip(value, axis[0], axis[-1]))
        low = int(np.clip(np.searchsorted(axis, value, side="right") - 1, 0, len(axis) - 2))
        return low, (value - axis[low]) / (axis[low + 1] - axis[low])

    def best(self) -> tuple[float, float, float]:
        """Find the point with the highest metric: its shares and the metric. All NaN where no point is finite."""
        if np.isnan(self.values).all():
            return math.nan, math.nan, math.nan
        at = np.unravel_index(int(np.nanargmax(self.values)), self.values.shape)
        return float(self.alphas[at[0]]), float(self.betas[at[1]]), float(self.values[at])


def surfaces(result: MergeResult) -> list[Surface]:
    """Arrange the plane of a result as one surface per task; none where it was not scored, or is no whole grid."""
    alphas, betas = (np.unique([point[at] for point in result.plane]) for at in (0, 1))
    if len(alphas) < 2 or len(betas) < 2 or len(result.plane) != len(alphas) * len(betas):
        return []
    found = []
    for task in result.tasks:
        values = np.full((len(alphas), len(betas)), np.nan)
        for alpha, beta, scores in result.plane:
            value = result.value(scores, task)
            values[np.searchsorted(alphas, alpha), np.searchsorted(betas, beta)] = (
                math.nan if value is None else 100 * value
            )
        found.append(Surface(task, alphas, betas, values))
    return found


def balanced(found: Sequence[Surface]) -> tuple[float, float] | None:
    """Find the point of the grid at which the worst-kept task keeps most of its best; None without any.

    A task keeps a share of its largest gain over the base, (0, 0); where no point is better than that, of its metric.
    """
    shares = []
    for surface in found:
        base, top = surface.at(0, 0), surface.best()[2]
        if not (top > base or top > 0):
            return None
        shares.append((surface.values - base) / (top - base) if top > base else surface.values / top)
    if not shares:
        return None
    worst = np.min(shares, axis=0)  # NaN wherever a task has no metric
    if np.isnan(worst).all():
        return None
    at = np.unravel_index(int(np.nanargmax(worst)), worst.shape)
    return float(found[0].alphas[at[0]]), float(found[0].betas[at[1]])
