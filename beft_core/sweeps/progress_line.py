"""Progress of a pass of a sweep before it ends: one line of validation metrics every so often."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from beft_core.training.observer import metric_that_counts

SECONDS = 15.0
"""Least seconds between two lines."""


class Interim:
    """Collection of the evaluations of a bank's fine-tunes after each epoch."""

    def __init__(self, kinds: Sequence[str], tell: Callable[[str], None]) -> None:
        """Start with no evaluation. ``kinds``: what each fine-tune of the bank trains."""
        self._kinds, self._tell = kinds, tell
        self._metric = ""
        self._latest: dict[int, float] = {}
        self._last_run = -1
        self._told = time.monotonic()

    def epoch(self, metrics: Mapping[str, float], run: int) -> None:
        """Take note that a fine-tune ended an epoch. They do so one after another: the line comes when all have had
        their turn.
        """
        if run <= self._last_run and self._latest and time.monotonic() - self._told > SECONDS:
            self._tell(self._line())
            self._told = time.monotonic()
        self._last_run = run
        name = metric_that_counts(metrics)
        if name is not None:
            self._metric, self._latest[run] = name, metrics[name]

    def _line(self) -> str:
        values: dict[str, list[float]] = {kind: [] for kind in self._kinds}
        for run, value in self._latest.items():
            values[self._kinds[run]].append(value)
        means = (f"{kind} {100 * sum(some) / len(some):.1f}" for kind, some in values.items() if some)
        return f"so far, {self._metric} in %, mean of the latest evaluations: {', '.join(means)}"
