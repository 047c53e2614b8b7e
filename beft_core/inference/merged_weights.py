"""Weights of a backbone under a fine-tune that changed more of them than biases: an adapter, merged by PEFT, or a model
that was rewritten before it was fine-tuned.
"""

from __future__ import annotations

from typing import Any

import torch

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.merging.config import recorded
from beft_core.snapshots.snapshot import Snapshot
from beft_core.training.evaluate import load_base
from beft_core.training.methods.adapters import AdapterWeights
from beft_core.training.preconditions import refuse_before_text


def merged_weights(snapshot: Snapshot, base: str) -> dict[str, torch.Tensor] | None:
    """Compute the weights of the base model's backbone, float32, by name; None where they are those of its files.

    ``base``: where the base model lies. An adapter is the one that the snapshot has in memory.

    Raises:
        UserError: another base model, an adapter that does not fit it, or one that is no change of weights.
    """
    fields = recorded([snapshot]) | {"model": base}
    if snapshot.adapter is None:
        if "rewrite_scale" not in fields:
            return None
        return dict(load_base(snapshot, RunConfig(**fields)).backbone.state_dict())
    mode = snapshot.meta.mode
    refuse_before_text(mode)
    model = load_base(snapshot, RunConfig(**fields))
    adapter = AdapterWeights.of(snapshot, model, fields.get("max_length", 8))
    try:
        merged: Any = adapter.peft.merge_and_unload(safe_merge=True)
    except ValueError as error:  # PEFT's own reasons: a value that is not finite, a module without a bias
        raise UserError(f"got an adapter of {mode} that PEFT does not merge ({error})", "one that it merges") from None
    return dict(merged.state_dict())
