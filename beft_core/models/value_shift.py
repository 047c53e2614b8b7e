"""Rewriting of a model that leaves its outputs the same: a constant moved between the value bias and the output bias.

Rows of softmax attention sum to one, so ``b_v + c`` adds ``W_o c`` at every token, and ``b_o - W_o c`` takes it away
again: for any c all outputs stay, and so do the gradients of both biases (attention dropout aside, under which rows do
not sum to one). Training is therefore the same, step by step. The projection ratio is not: it compares ``b_v`` with
where it began, and c moves that origin. Magnitude and Fisher stay.
"""

from __future__ import annotations

import numpy as np
import torch

from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel, get_bias, require_terms, set_bias
from beft_core.models.folding import fold_value_bias


def shift_values(model: LoadedModel, shift: np.ndarray) -> None:
    """Add a constant to every value bias and take what it does from the output bias, in place: outputs stay.

    ``shift``: [layers, kv_heads * head_dim]. Raises UserError for another shape, and for a model that lacks one of the
    two biases (``add_zero_bias`` gives it one).
    """
    require_terms(model, ["v", "o"])
    slots = model.layout.slots_of("v")
    shape = (len(slots), slots[0].width)
    if np.shape(shift) != shape:
        raise UserError(f"got a shift of shape {np.shape(shift)}", f"{shape} for {model.id}")
    fold_value_bias(model, -np.asarray(shift, np.float64))
    for slot, extra in zip(slots, shift, strict=True):
        bias = get_bias(model.backbone, slot).to("cpu", torch.float64)
        set_bias(model.backbone, slot, bias + torch.as_tensor(extra, dtype=torch.float64))
