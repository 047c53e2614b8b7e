"""Fold of a value bias into the attention output bias.

Attention averages values with weights that sum to one, so a change d of the value bias moves every average by
d, whatever the attention: ``W_o (sum_j a_ij (v_j + d)) = W_o (sum_j a_ij v_j) + W_o d``. A value bias is
therefore a constant in the residual stream, and ``b_o += W_o d`` does the same without it (exactly, up to
rounding and without attention dropout). That is how a b_v snapshot is carried to a model that has no value
bias.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel, get_bias, require_terms, restored, set_bias
from beft_core.snapshots.snapshot import Snapshot


def folded_change(model: LoadedModel, change: np.ndarray) -> np.ndarray:
    """Change of the output bias, float64 [layers, hidden_size], that equals a change of the value bias.

    ``change`` is [layers, kv_heads * head_dim]. Under grouped-query attention several query heads average the
    same value head, so its change is repeated for each. Raises UserError for another shape.
    """
    layout = model.layout
    shape = (layout.layers, layout.kv_heads * layout.head_dim)
    if np.shape(change) != shape:
        raise UserError(f"got a change of the value bias of shape {np.shape(change)}", f"{shape} for {model.id}")
    value_heads = torch.as_tensor(change, dtype=torch.float64).view(-1, layout.kv_heads, layout.head_dim)
    heads = value_heads.repeat_interleave(layout.heads // layout.kv_heads, dim=1)  # (L, heads, head_dim)
    outputs = [slot for slot in (*layout.slots, *layout.addable) if slot.term == "o"]
    changes = [
        _output_matrix(model.backbone, slot.module) @ value
        for slot, value in zip(outputs, heads.flatten(1), strict=True)
    ]
    return torch.stack(changes).numpy()


def fold_value_bias(model: LoadedModel, change: np.ndarray | Snapshot) -> None:
    """Add a change of the value bias, or that of a snapshot's ``v``, to the attention output bias, in place.

    The model's own value bias stays as it is. Raises UserError if the model has no output bias
    (``add_zero_bias(model, "o")`` gives it one) or if the shapes differ.
    """
    require_terms(model, ["o"])
    if isinstance(change, Snapshot):
        key = (model.layout.stack, "v")
        difference = change.post(*key).astype(np.float64) - change.pre(*key)
    else:
        difference = change
    for slot, extra in zip(model.layout.slots_of("o"), folded_change(model, difference), strict=True):
        bias = get_bias(model.backbone, slot).to("cpu", torch.float64)
        set_bias(model.backbone, slot, bias + torch.from_numpy(extra))


def fold_error(model: LoadedModel, change: np.ndarray, inputs: dict[str, Any]) -> float:
    """Distance of folding from adding the change to the value bias: the inverse check.

    Runs ``model.backbone(**inputs)`` both ways and returns the largest difference of a final hidden state,
    relative to the largest hidden state. Needs both terms; the model is left as it was.
    """
    require_terms(model, ["v", "o"])
    with torch.no_grad():
        with restored(model):
            for slot, extra in zip(model.layout.slots_of("v"), change, strict=True):
                bias = get_bias(model.backbone, slot)
                set_bias(model.backbone, slot, bias + torch.as_tensor(extra, dtype=bias.dtype, device=bias.device))
            direct = model.backbone(**inputs).last_hidden_state
        with restored(model):
            fold_value_bias(model, change)
            folded = model.backbone(**inputs).last_hidden_state
    return float((folded - direct).abs().max() / direct.abs().max())


def _output_matrix(backbone: nn.Module, path: str) -> torch.Tensor:
    """Output matrix W_o, float64 [hidden_size, heads * head_dim]; GPT-2's Conv1D keeps it transposed."""
    module = backbone.get_submodule(path)
    weight: Any = module.weight
    weight = weight.detach().to("cpu", torch.float64)
    return weight if isinstance(module, nn.Linear) else weight.T
