"""Share of each fine-tune that a merge keeps, as numbers and in words."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from beft_core.merging.result import BASE, MERGED, MergeResult, Scores

CORRELATIONS = ("mcc", "spearman", "pearson")
"""Metrics from -1 to 1, whose standard error is twice that of a share of right answers."""


@dataclass(frozen=True)
class Kept:
    """Share of one task's metric that a merge keeps."""

    task: str
    share: float
    """1 is the whole; above 1 the merge beats the task's own fine-tune, below 0 it falls below the base model."""
    of: Literal["gain", "metric"]
    """Quantity that it is a share of: what the task's own fine-tune gained over the base model, or, where that gain is
    no more than chance on so few examples, its whole metric.
    """


def noise(metric: str, examples: int) -> float:
    """Compute the largest difference that chance explains: two standard errors of the metric on so many examples, at
    their largest.
    """
    return (2.0 if metric in CORRELATIONS else 1.0) / math.sqrt(max(1, examples))


def share(base: float | None, alone: float | None, merged: float | None, noise: float) -> tuple[float, bool] | None:
    """Compute what a merge keeps of a fine-tune, and whether that is a share of its gain over the base model.

    The gain counts where it is larger than ``noise``; elsewhere it is the plain share of the metric. None where a
    metric is not known, or where the fine-tune is worth nothing.
    """
    if base is None or alone is None or merged is None:
        return None
    if alone - base > noise:
        return (merged - base) / (alone - base), True
    return (merged / alone, False) if alone > noise else None


def kept(result: MergeResult, scores: Scores | None = None) -> list[Kept]:
    """Compute what a merge keeps of each task, in the order of the tasks; without those where it cannot be said.

    ``scores``: of another point of the line or plane than the merge itself.
    """
    rows = [row for row in result.rows if row not in (BASE, MERGED)]
    found = []
    for task, about in result.tasks.items():
        own = [row for row in rows if _is_of(row, task)] or rows
        # Of several of its own fine-tunes the best; where none is known by its label, whichever row does best.
        alone = [value for row in own if (value := result.value(result.rows[row], task)) is not None]
        merged = result.value(result.rows[MERGED] if scores is None else scores, task)
        base = result.value(result.rows[BASE], task)
        known = share(base, max(alone, default=None), merged, noise(about.metric, about.examples))
        if known is not None:
            found.append(Kept(task, known[0], "gain" if known[1] else "metric"))
    return found


def _is_of(row: str, task: str) -> bool:
    """Say whether a row is of a fine-tune on a task, by its label as :func:`beft_core.merging.similarity.compare` makes
    it: ``sst2``, ``sst2, seed 1`` or ``2: sst2, seed 1``.
    """
    return re.fullmatch(rf"([0-9]+: )?{re.escape(task)}(, seed [^,]*)?", row) is not None


def in_words(shares: Sequence[Kept]) -> str:
    """Write what a merge keeps: ``keeps 82 % of sst2 and 31 % of stsb``; empty without any."""
    parts = [f"{100 * one.share:.0f} % of {one.task}" for one in shares]
    if not parts:
        return ""
    return "keeps " + (parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}")


def explained(shares: Sequence[Kept]) -> str:
    """Say what the shares of :func:`in_words` are of, task by task where they differ."""
    meaning = {
        "gain": "of what the task's own fine-tune gained over the base model",
        "metric": "of the metric of the task's own fine-tune, whose gain over the base model is no more than chance",
    }
    kinds = {one.of for one in shares}
    if len(kinds) == 1:
        return f"Shares are {meaning[kinds.pop()]}."
    return " ".join(f"{one.task}: a share {meaning[one.of]}." for one in shares)
