"""Observer, to which a running fine-tune reports: one small interface for terminals, files and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from beft_core.tasks.predictions import Predictions

NOT_METRICS = frozenset({"type", "seconds", "run", "epoch", "step", "train_loss"})
"""Names of fields of an epoch's record that are no metric of the validation set."""


class Observer:
    """Observer that receives progress and may ask for an early stop. Every method may be overridden; none needs to be.

    A stage is anything that takes more than a moment (load, tokenise, fisher, train, evaluate, save). Stages do not
    nest: the next :meth:`stage` ends the one before.
    """

    wants_scores = False
    """Whether the observer wants :meth:`scores` to be called: what nobody wants is not computed."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage; ``total`` is its number of units where that is known."""

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more units of the stage as done."""

    def step(self, step: int, total: int, losses: Sequence[float]) -> None:
        """Take note that step ``step`` of ``total`` (1-based) ended; ``losses`` [runs]: means since the last call."""

    def scores(self, step: int, table: Mapping[str, Mapping[str, float]]) -> None:
        """Receive, about once a second in a single fine-tune, term -> approach -> mean over layers of the movement."""

    def epoch(self, metrics: dict[str, float], run: int = 0) -> None:
        """Take note that run number ``run`` ended an epoch.

        ``metrics``: ``{"epoch": 1, "step": .., "train_loss": .., "accuracy": ..}``.
        """

    def validating(self, done: int, total: int) -> None:
        """Take note that ``done`` of ``total`` validation examples are scored, within the stage that trains; equal: all
        are.
        """

    def predicted(self, predictions: Predictions, run: int = 0) -> None:
        """Receive what run number ``run`` predicts for the validation examples at its end; one that was stopped or
        failed before does not say it.
        """

    def message(self, text: str) -> None:
        """Receive something that a user should read once."""

    def should_stop(self) -> bool:
        """Answer, between steps, whether to end the fine-tune now and keep what was trained."""
        return False


def metric_that_counts(epoch: Mapping[str, Any]) -> str | None:
    """Name the first metric in an epoch's record; None where it has none."""
    return next((name for name in epoch if name not in NOT_METRICS), None)
