"""Choice of what a sweep keeps besides the rows of its fine-tunes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kept:
    """What a sweep keeps besides rows."""

    snapshots: bool = True
    """Snapshots, which merges need of b_v."""
    predictions: bool = False
    """Predictions for the validation examples, by which fine-tunes are compared example by example."""
    refusals: bool = False
    """Why a run cannot be trained (:mod:`beft_core.sweeps.sharing.refusals`): such a run has no row, and the sweep goes
    on without it. Else the first one ends the sweep.
    """
    made_again: bool = True
    """Whether whoever starts the sweep looks for snapshots and predictions that are wanted and that finished fine-tunes
    lack, and has these trained again (:mod:`beft_core.sweeps.sharing.renewal`).
    """
