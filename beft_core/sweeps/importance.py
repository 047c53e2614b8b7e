"""Importance of the settings of a sweep: the share of the variance of the final metric that each of them explains."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from beft_core.sweeps.table import OPTIMIZER_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

SETTINGS: tuple[str, ...] = ("model", "n_train", "trains", "lr", *OPTIMIZER_COLUMNS, "seed")
"""Columns of the result table that are settings of a fine-tune, its task aside."""


@dataclass(frozen=True)
class Importance:
    """Share of the variance of a metric that one setting explains, over the finished fine-tunes of one task."""

    task: str
    metric: str
    setting: str
    """Name of a column, one of :data:`SETTINGS`."""
    share: float
    """One-way eta squared, 0 to 1: sum of squares between the values of the setting over the total."""
    by_chance: float
    """Share that a setting without any effect explains on average, (levels - 1) / (runs - 1)."""
    levels: int
    """Number of values that the setting took."""
    runs: int


def eta_squared(values: np.ndarray, levels: Sequence[Hashable]) -> float | None:
    """Compute the share of the variance of values [n] between groups of equal level; None where nothing varies."""
    values = np.asarray(values, dtype=np.float64)
    deviations = values - values.mean()
    total = float(deviations @ deviations)
    if total <= len(values) * (1e-9 * max(1.0, float(np.abs(values).max()))) ** 2:  # equal but for rounding
        return None
    import pandas as pd

    groups, _ = pd.factorize(np.asarray(levels, dtype=object), use_na_sentinel=False)
    sums, counts = np.bincount(groups, deviations), np.bincount(groups)
    return min(float((sums**2 / counts).sum()) / total, 1.0)


def importances(table: pd.DataFrame) -> list[Importance]:
    """Compute the importance of each setting that a sweep varied, of a result table: task by task, the largest first.

    Only fine-tunes that are done and have a finite metric count. A setting with another value in each of them explains
    everything and says nothing, so it is left out. The settings are looked at one by one: shares of settings that
    vary together overlap, and what only a combination does is in none.
    """
    import pandas as pd

    values = pd.to_numeric(table["value"], errors="coerce")
    done = table.assign(value=values)[(table["state"] == "done") & np.isfinite(values)]
    found = []
    for (task, metric), part in done.groupby(["task", "metric"], sort=False):
        own = []
        for setting in [name for name in SETTINGS if name in part]:
            levels, _ = pd.factorize(part[setting], use_na_sentinel=False)  # a gap is a level, too
            count, runs = int(levels.max()) + 1, len(part)
            if not 1 < count < runs:
                continue
            share = eta_squared(part["value"].to_numpy(), levels.tolist())
            if share is not None:
                own.append(Importance(str(task), str(metric), setting, share, (count - 1) / (runs - 1), count, runs))
        found += sorted(own, key=lambda one: -one.share)
    return found
