"""Intervals (95 %) of means over cases, by a bootstrap that draws what is not independent as a whole.

Cases of one task share the task, and the learning rates of a seed share examples, order and head. So with several
tasks a resample draws *tasks* with replacement, and within each drawn task its *groups* of data size and seed, with all
their learning rates (a hierarchical bootstrap; Davison and Hinkley, Bootstrap Methods and their Application, 1997,
section 3.8). With one task there are only the groups to draw. With few tasks or seeds such intervals are rather too
narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import pandas as pd

RESAMPLES, SEED, PERCENTILES = 2000, 0, (2.5, 97.5)
PARTS = 32
"""Number of parts in which draws become float64 to be multiplied: eight times as large, all at once take longer."""

TASK = ("model", "task")
"""Columns of what is drawn first, a task of a model."""
GROUP = (*TASK, "n_train", "seed")
"""Columns of what is drawn within a task. Not the name of its regime: a seed under two optimizers has two, and the same
examples, order and head under both.
"""


class Bootstrap:
    """Bootstrap draws of the rows of a table, always the same ones for the same table.

    Args:
        table: at least one row, with the columns of :data:`GROUP`.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self._group = table.groupby(list(GROUP), dropna=False).ngroup().to_numpy()
        task_of_row = table.groupby(list(TASK), dropna=False).ngroup().to_numpy()
        self._task = np.zeros(self._group.max() + 1, int)  # of each group
        self._task[self._group] = task_of_row
        tasks = int(self._task.max()) + 1
        self.draws: Literal["tasks", "seeds"] = "tasks" if tasks > 1 else "seeds"
        """Name of what the intervals of all rows together resample first."""
        self._drawn = _draws(tuple(map(int, self._task)))

    def mean(self, values: np.ndarray) -> tuple[float, float, float]:
        """Compute the mean of what is not NaN of [rows], and the ends of its 95 % interval (NaN: one group, nothing to
        draw).
        """
        return self.means([values])[0]

    def means(self, columns: Sequence[np.ndarray]) -> list[tuple[float, float, float]]:
        """Compute the :meth:`mean` of each of some columns [rows]: of many, hardly slower than of one."""
        known = [~np.isnan(values) for values in columns]
        sums, counts = (  # [columns, groups]
            np.stack([self._summed(here, of) for here, of in zip(known, weights, strict=True)])
            for weights in (columns, [None] * len(columns))
        )
        both = np.concatenate([sums, counts])
        # [sums and counts, resamples]
        drawn = np.concatenate([both @ part.astype(float).T for part in np.array_split(self._drawn, PARTS)], axis=1)
        found = []
        for at, (total, count) in enumerate(zip(sums, counts, strict=True)):
            mean = float(total.sum() / count.sum()) if count.any() else np.nan
            low = high = np.nan
            if (count > 0).sum() > 1:
                with np.errstate(invalid="ignore"):  # a draw of groups without such a value has no mean
                    low, high = np.nanpercentile(drawn[at] / drawn[len(sums) + at], PERCENTILES)
            found.append((mean, float(low), float(high)))
        return found

    def _summed(self, known: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """Sum what is known of [rows] over each group, or count it: float64 [groups]."""
        of_known = None if weights is None else weights[known]
        return np.bincount(self._group[known], of_known, minlength=len(self._task)).astype(float)


@lru_cache(maxsize=8)
def _draws(task: tuple[int, ...]) -> np.ndarray:
    """Draw groups, of which ``task`` says to which each belongs: how often each was drawn, whole numbers of as few
    bytes as the largest needs [resamples, groups].

    Kept for the next tables of the same groups: claims ask for many means over all sizes of data, few and many.
    """
    of_group, tasks = np.array(task), max(task) + 1
    rng = np.random.default_rng(SEED)
    times = rng.multinomial(tasks, np.full(tasks, 1 / tasks), size=RESAMPLES)  # [resamples, tasks]
    drawn = np.zeros((RESAMPLES, len(of_group)), np.int32)
    for one in range(tasks):
        own = np.flatnonzero(of_group == one)
        # A task that was drawn twice has its groups drawn twice: together so many as one draw of double length.
        drawn[:, own] = rng.multinomial(times[:, one] * len(own), np.full(len(own), 1 / len(own)))
    drawn = drawn.astype(np.min_scalar_type(drawn.max()))
    drawn.flags.writeable = False
    return drawn
