"""Live scores of a single fine-tune: how far its bias terms have moved so far, while it runs."""

from __future__ import annotations

import time
from collections import defaultdict

import numpy as np

from beft_core.scores.approaches import of_movement
from beft_core.scores.formulas import Movement
from beft_core.training.methods.bias_bank import Bank, Part, is_slot

PAUSE_SECONDS = 1.0
"""Least seconds between two computations of scores."""
COST_SHARE = 0.01
"""Largest share of the time that computing scores may take."""

LiveTable = dict[str, dict[str, float]]
"""Scores by term and by approach that compares before and after: mean over the layers of the model."""


class LiveScores:
    """Scores from the biases as they were before the fine-tune and those of the bank, compared on the CPU."""

    def __init__(self, bank: Bank, owned: set[str]) -> None:
        """Remember the biases. ``bank``: one run, its values not trained yet; ``owned``: the parts that it trains."""
        assert bank.runs == 1
        self._bank = bank
        self._parts: dict[str, list[Part]] = defaultdict(list)
        for name, part in bank.parts.items():
            if name in owned and is_slot(name):
                self._parts[name.split(".")[1]].append(part)
        self._before = self._values()
        self._next = 0.0

    def due(self) -> bool:
        """Say whether it is time again; always true at first."""
        return time.monotonic() >= self._next

    def table(self) -> LiveTable | None:
        """Compute the scores now; None while a value is not finite.

        A layer that is not trained counts as 0, as in the scores of the snapshot.
        """
        began = time.monotonic()
        values = self._values()
        finite = bool(np.isfinite(values).all())
        table = {term: self._scores(parts, values) for term, parts in self._parts.items()} if finite else None
        now = time.monotonic()
        self._next = now + max(PAUSE_SECONDS, (now - began) / COST_SHARE)
        return table

    def _scores(self, parts: list[Part], values: np.ndarray) -> dict[str, float]:
        pre, post = (np.stack([array[part.columns] for part in parts]) for array in (self._before, values))
        movement = Movement(pre, post)
        layers = self._bank.model.layout.layers
        return {approach.key: float(approach.per_layer(movement).sum()) / layers for approach in of_movement()}

    def _values(self) -> np.ndarray:
        """Copy the run's row of the bank: float32 [parameters]."""
        return self._bank.values[0].detach().cpu().numpy().copy()
