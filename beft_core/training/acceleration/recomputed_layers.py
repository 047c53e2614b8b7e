"""Gradient checkpointing: a layer keeps only its input for the backward pass, in which it is computed once more.

Of each layer the states between its operations are then alive for one layer at a time instead of for all: one more
forward pass for a memory that no longer grows with the number of layers but for one state each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from beft_core.models.biases import LoadedModel
from beft_core.training.acceleration.compiled_layers import layers_of
from beft_core.training.module_swap import standing_in


class RecomputedLayer(nn.Module):
    """Layer that is computed again in the backward pass, with the same dropout; in all else the layer itself."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the layer, whose arguments need no gradient but the first, the hidden states."""
        if not torch.is_grad_enabled():
            return self.layer(*args, **kwargs)
        return checkpoint(self.layer, *args, use_reentrant=False, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """Read what a model may ask of its layers, such as the kind of its attention."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)


@contextmanager
def recomputed_layers(model: LoadedModel) -> Iterator[None]:
    """Make each layer of a model keep its input alone for the backward pass while the context is open."""
    stand_ins: dict[nn.Module, nn.Module] = {layer: RecomputedLayer(layer) for layer in layers_of(model)}
    with standing_in([model.backbone], stand_ins):
        yield
