"""Agreement of two orders of the same items: Kendall's tau-b and Spearman's rho, with numpy alone.

What ``scipy.stats.kendalltau`` and ``spearmanr`` compute one pair at a time; scipy takes longer to import than a page
may take to open.
"""

from __future__ import annotations

import math

import numpy as np


def kendall_tau(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Kendall's tau-b along the last axis of two arrays [..., items]: float64 [...], NaN where undefined.

    Concordant minus discordant pairs, over the geometric mean of the pairs without a tie in each
    (https://doi.org/10.1093/biomet/33.3.239). Undefined for fewer than two items, for a value that is NaN, and where
    all values of one side are equal.
    """
    first, second = np.triu_indices(np.shape(x)[-1], 1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        dx, dy = (np.sign(values[..., first] - values[..., second]) for values in (x, y))
        untied = np.square(dx).sum(axis=-1) * np.square(dy).sum(axis=-1)
        return np.asarray((dx * dy).sum(axis=-1) / np.sqrt(untied), np.float64)


def spearman_rho(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation of the ranks of two arrays [items], equal values sharing the mean of theirs."""
    a, b = (_mean_ranks(v) - (len(v) + 1) / 2 for v in (x, y))
    size = math.sqrt((a * a).sum()) * math.sqrt((b * b).sum())
    return float((a * b).sum() / size) if size else math.nan


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    _, kind, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[kind], dtype=np.float64)
