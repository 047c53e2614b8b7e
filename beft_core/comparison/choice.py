"""Choice of each method's learning rate by its trials."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beft_core.comparison.entries import Entry

if TYPE_CHECKING:
    import pandas as pd

TIE = 1e-9
"""Largest difference of a metric that still counts as none."""


@dataclass(frozen=True)
class Choice:
    """Learning rate of a method, with what its trials gave."""

    lr: float | None
    """Rate that did best; None where no trial has a metric."""
    edge: str
    """``smallest`` or ``largest`` where that is an end of the rates tried and better than the one beside it, else
    empty.
    """
    trials: tuple[tuple[float, float | None], ...]
    """Metric of each trial by its rate; None where it failed or is not there."""

    def as_json(self) -> str:
        """Write the trials as a JSON list of [rate, metric or null]."""
        return json.dumps([list(one) for one in self.trials])

    def in_words(self, entry: Entry) -> str:
        """Say that the range may be too narrow; empty where it was wide enough."""
        if not self.edge:
            return ""
        return f"{entry.label}: the best rate is the range's {self.edge}, {self.lr:g}: widen it (--lrs)"


def choose(entry: Entry, trials: pd.DataFrame) -> Choice:
    """Choose the rate with the best metric; of rates that tie, the one nearest to the middle of the range, by ratio.

    ``trials``: result table of the sweep of the trials.
    """
    own = trials[trials["trains"] == entry.trains]
    found: dict[float, float | None] = dict.fromkeys(entry.lrs)
    for row in own.to_dict("records"):
        lr = next((lr for lr in entry.lrs if math.isclose(lr, row["lr"])), None)
        value = row["value"]
        if lr is not None and row["state"] == "done" and value is not None and math.isfinite(value):
            found[lr] = float(value)
    known = {lr: value for lr, value in found.items() if value is not None}
    if not known:
        return Choice(None, "", tuple(found.items()))
    best = max(known.values())
    middle = math.sqrt(entry.lrs[0] * entry.lrs[-1])
    tied = [lr for lr, value in known.items() if value >= best - TIE]
    chosen = min(tied, key=lambda lr: (round(abs(math.log(lr / middle)), 6), lr))
    edge = ""
    if len(known) > 1:
        ordered = sorted(known)
        ends = {ordered[0]: ("smallest", ordered[1]), ordered[-1]: ("largest", ordered[-2])}
        name, inside = ends.get(chosen, ("", chosen))
        edge = name if chosen in (entry.lrs[0], entry.lrs[-1]) and inside not in tied else ""
    return Choice(chosen, edge, tuple(found.items()))
