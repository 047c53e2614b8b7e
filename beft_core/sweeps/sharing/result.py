"""Result of a sweep, as numbers, without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SweepResult:
    """Result of a call of :func:`beft_core.sweeps.runner.run_sweep`, or of several workers of it, as numbers."""

    runs: int
    """Number of fine-tunes of the grid."""
    trained: int
    """Number of fine-tunes that this call trained."""
    failed: int
    """Number of fine-tunes of the grid that failed, because a value was not finite."""
    banks: int
    """Number of passes over the model that this call took."""
    seconds: float
    stopped: bool
    """Whether the call was asked to stop; what is finished is kept, and the bank in progress goes on from its state."""
