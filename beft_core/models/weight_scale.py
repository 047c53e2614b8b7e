"""Rewriting of a model that leaves its outputs the same: values scaled against the output matrix, queries against keys.

Attention reads queries and keys through their product alone, and its averaged values through W_o alone. So
``W_v, b_v -> D W_v, D b_v`` with ``W_o -> W_o D^-1``, and ``W_k, b_k -> D W_k, D b_k`` with ``W_q, b_q -> D^-1 W_q,
D^-1 b_q``, compute the same for any diagonal D; under rotary positions, which mix pairs of elements, D must be the same
within a head. Whether it holds for a model is not taken on trust: its outputs are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from beft_core.architectures.layout import BiasSlot, Layout
from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel
from beft_core.models.null_certificate import few_threads, hidden_states, probe_input

TOLERANCE = 1e-4
"""Largest relative change of a hidden state that counts as rounding, also of what an architecture computes in float32
whatever the model's own precision; a rewriting that is none changes them by a percent or more."""
_SEED = 20250915


def scale_weights(
    model: LoadedModel, values: np.ndarray | float = 1.0, keys: np.ndarray | float = 1.0, check: bool = True
) -> None:
    """Multiply W_v, b_v by a factor and divide W_o by it, and W_k, b_k against W_q, b_q, in place: outputs stay.

    Args:
        model: a loaded model.
        values: positive factors that can be broadcast to [layers, kv_heads * head_dim]; 1: as it is.
        keys: the same of the keys.
        check: compare the outputs before and after on random tokens.

    Raises:
        UserError: factors that are not positive, an architecture that keeps weights apart from biases, factors that
            differ within a head under rotary positions, or outputs that would change; the model is then as it was.
    """
    layout = model.layout
    factors = {"v": _broadcast(layout, values, "values"), "k": _broadcast(layout, keys, "keys")}
    if not layout.key_rule.null and (np.ptp(_by_head(layout, factors["k"]), axis=-1) > 0).any():
        raise UserError(
            f"got factors of the keys that differ within a head for {model.id}",
            f"one factor per head: {layout.key_rule.why}",
        )
    factors["q"] = 1 / _for_queries(layout, factors["k"])
    factors["o"] = 1 / _for_queries(layout, factors["v"])
    _require_weights(model)
    with torch.no_grad(), few_threads(model.backbone), _unless_outputs_change(model, factors, check):
        _multiply(model, factors)


def _multiply(model: LoadedModel, factors: Mapping[str, np.ndarray]) -> None:
    """Multiply in place: rows of W_q, W_k, W_v with their biases, columns of W_o."""
    layout = model.layout
    for term in ("q", "k", "v", "o"):
        for slot in _slots(layout, term):
            module: Any = model.backbone.get_submodule(slot.module)
            factor = torch.from_numpy(factors[term][slot.layer])
            weight = module.weight if isinstance(module, nn.Linear) else module.weight.T  # GPT-2's Conv1D
            if term == "o":
                weight.copy_(weight.double() * factor.to(weight.device))
                continue
            index = slot.index if isinstance(slot.index, slice) else torch.from_numpy(slot.index).to(weight.device)
            weight[index] = (weight[index].double() * factor[:, None].to(weight.device)).to(weight.dtype)
            if module.bias is not None:
                module.bias[index] = (module.bias[index].double() * factor.to(weight.device)).to(weight.dtype)


@contextmanager
def _unless_outputs_change(model: LoadedModel, factors: Mapping[str, np.ndarray], check: bool) -> Iterator[None]:
    """Compare the outputs after the context with those before; put everything back where they differ, and raise."""
    if not check:
        yield
        return
    probe = probe_input(model, torch.Generator().manual_seed(_SEED))
    dtype = next(model.backbone.parameters()).dtype
    probe = {name: value.to(dtype) if value.is_floating_point() else value for name, value in probe.items()}
    before = hidden_states(model, probe)
    kept = {id(p): p.detach().clone() for p in _touched(model)}
    yield
    gap = float((hidden_states(model, probe) - before).abs().max() / before.abs().max())
    if not gap <= TOLERANCE:
        for parameter in _touched(model):
            parameter.copy_(kept[id(parameter)])
        raise UserError(
            f"got {model.id}, whose outputs would change by {gap:.1e} of the largest",
            "attention that reads queries and keys through their product alone, and values through W_o alone",
        )


def _touched(model: LoadedModel) -> list[Tensor]:
    modules = {slot.module for term in ("q", "k", "v", "o") for slot in _slots(model.layout, term)}
    return [p for path in sorted(modules) for p in model.backbone.get_submodule(path).parameters(recurse=False)]


def _slots(layout: Layout, term: str) -> list[BiasSlot]:
    """List the places of a term, whether or not it has a bias there."""
    return [slot for slot in (*layout.slots, *layout.addable) if slot.term == term]


def _require_weights(model: LoadedModel) -> None:
    for term in ("q", "k", "v", "o"):
        slots = _slots(model.layout, term)
        modules = [model.backbone.get_submodule(slot.module) for slot in slots]
        if (
            not slots
            or any(slot.attribute != "bias" for slot in slots)
            or not all(hasattr(m, "weight") for m in modules)
        ):
            raise UserError(
                f"got a {model.layout.model_type} model, which keeps weights of {term} apart from its biases",
                "an architecture with one module for each projection, or one for q, k and v together",
            )


def _broadcast(layout: Layout, factors: np.ndarray | float, what: str) -> np.ndarray:
    shape = (layout.layers, layout.kv_heads * layout.head_dim)
    try:
        found = np.broadcast_to(np.asarray(factors, np.float64), shape).copy()
    except ValueError:
        raise UserError(f"got factors of the {what} of shape {np.shape(factors)}", f"{shape}, or one number") from None
    if not (np.isfinite(found).all() and (found > 0).all()):
        raise UserError(f"got factors of the {what} that are not positive", "positive numbers")
    return found


def _by_head(layout: Layout, factors: np.ndarray) -> np.ndarray:
    return factors.reshape(layout.layers, layout.kv_heads, layout.head_dim)


def _for_queries(layout: Layout, factors: np.ndarray) -> np.ndarray:
    """Repeat factors [layers, kv_heads * head_dim] for each query head that shares a head of keys and values."""
    repeated = np.repeat(_by_head(layout, factors), layout.heads // layout.kv_heads, axis=1)
    return repeated.reshape(layout.layers, -1)
