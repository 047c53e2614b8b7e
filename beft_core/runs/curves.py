"""Curves of what a run measured, step by step, for figures and tables: read once by byte offset, then only what
is new.
"""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from beft_core.runs.record import METRICS_BYTES
from beft_core.runs.run import Run
from beft_core.training.observer import NOT_METRICS

TRAIN_LOSS = "train_loss"


@dataclass
class Curve:
    """Curve of a value over steps, growing with the run."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, step: int, value: float) -> None:
        """Append a value. A resumed run tells some steps again: what came after them is forgotten."""
        while self.steps and self.steps[-1] >= step:
            self.steps.pop()
            self.values.pop()
        self.steps.append(step)
        self.values.append(value)

    def thinned(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Thin the curve to at most `most` points (4 or more): the first, the last, and the smallest and largest of
        stretches of equal length, so that a peak is never lost.
        """
        steps, values = np.array(self.steps), np.array(self.values)
        if len(steps) <= most:
            return steps, values
        edges = np.linspace(0, len(steps), (most - 2) // 2 + 1).astype(int)
        kept = [a + f(values[a:b]) for a, b in pairwise(edges) for f in (np.argmin, np.argmax)]
        chosen = np.unique([0, *kept, len(steps) - 1])
        return steps[chosen], values[chosen]


@dataclass
class Curves:
    """Curves of one run."""

    loss: Curve = field(default_factory=Curve)
    """Mean training loss since the point before."""
    metrics: dict[str, Curve] = field(default_factory=dict)
    """Value after each epoch by metric of the validation set; and ``train_loss``, the mean of each epoch."""
    scores: dict[tuple[str, str], Curve] = field(default_factory=dict)
    """Score of a term, the mean over layers, by (term, approach)."""

    def add(self, record: dict[str, Any]) -> None:
        """Take one record that :meth:`beft_core.runs.run.Run.read_metrics` let pass."""
        step = record.get("step")
        if step is None:
            return
        match record.get("type"):
            case "step":
                if record["loss"] and record["loss"][0] is not None:
                    self.loss.add(step, float(record["loss"][0]))
            case "epoch":
                for name, value in record.items():
                    if (name == TRAIN_LOSS or name not in NOT_METRICS) and isinstance(value, int | float):
                        self.metrics.setdefault(name, Curve()).add(step, float(value))
            case "scores":
                for term, approaches in record["scores"].items():
                    for approach, value in approaches.items():
                        self.scores.setdefault((term, approach), Curve()).add(step, float(value))


class CurveReader:
    """Reader that keeps the curves of one run; each call reads only the bytes that are new. May be shared between
    threads.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._offset = 0
        self._curves = Curves()
        self._told = Curves()

    def read(self) -> Curves:
        """Read the curves as they are now; what was returned does not change any more."""
        with self._lock:
            size = self._size()
            if size == self._offset:
                return self._told
            if size < self._offset:  # another file under the same name
                self._offset, self._curves = 0, Curves()
            while True:
                records, offset = self._run.read_metrics(self._offset)
                for record in records:
                    self._curves.add(record)
                if offset == self._offset:
                    break
                self._offset = offset
            self._told = copy.deepcopy(self._curves)
            return self._told

    def _size(self) -> int:
        try:
            return min(self._run.metrics.lstat().st_size, METRICS_BYTES)
        except OSError:
            return 0
