"""Fusion of queries, keys and values into one product, in layers whose weights are frozen.

Backward then adds the three gradients of the layer's input inside of one product, instead of writing and reading each.
A run's own biases are added where attention reads its tiles (see
:mod:`beft_core.training.acceleration.segment_kernels`), which spares a pass over the values of all tokens.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from beft_core.models.biases import LoadedModel
from beft_core.training.acceleration.compiled_layers import layers_of
from beft_core.training.acceleration.last_layer import LastLayer
from beft_core.training.acceleration.post_norm_layer import PostNormLayer, is_post_norm
from beft_core.training.acceleration.segment_attention import fits, product_attention
from beft_core.training.methods.bank_linear import SharedAffine
from beft_core.training.methods.low_rank import LowRankShared
from beft_core.training.module_swap import standing_in

_TERMS = ("q", "k", "v")


class OneProductLayer(PostNormLayer):
    """Layer with the three weights as one."""

    def __init__(self, model: LoadedModel, number: int) -> None:
        super().__init__(model, number)
        modules = [self.of(term) for term in _TERMS]
        self.weight = torch.cat([module.weight.detach() for module in modules])
        frozen = [
            one.weight.new_zeros(len(one.weight)) if isinstance(one, SharedAffine) else one.bias for one in modules
        ]
        self.bias = torch.cat(frozen).detach().to(self.weight.dtype)
        self.keyed_at = self.places["q"].rpartition(".")[0]

    def forward(self, hidden: Tensor, mask: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
        """Compute the layer, [rows, tokens, hidden] -> the same. A mask of integers holds segments, [rows, 1, 1,
        tokens].
        """
        rows, tokens, _hidden = hidden.shape
        dropout = self.at(self.block.attention_dropout).p if self.training else 0.0
        by_segments = mask is None or mask.dtype == torch.int32
        if not by_segments or not fits(tokens, self.head_dim):
            q, k, v = (self.by_head(self.of(term)(hidden)) for term in _TERMS)
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
            return self.after_attention(attended.transpose(1, 2).flatten(2), hidden)
        product = F.linear(hidden, self.weight, self.bias).view(rows, tokens, 3, self.heads, self.head_dim)
        modules = [self.of(term) for term in _TERMS]
        trained = [one.biases().expand(rows, -1) if isinstance(one, SharedAffine) else None for one in modules]
        attended = product_attention(
            product,
            trained,
            None if mask is None else mask[:, 0, 0],
            key=self.at(self.keyed_at).dropout_key if dropout else None,
            p=dropout,
            scale=self.head_dim**-0.5,
        )
        return self.after_attention(attended.flatten(2), hidden)


def one_product(model: LoadedModel) -> AbstractContextManager[None]:
    """Make layers compute by one product while the context is open, where they are post-norm, :class:`LastLayer` does
    not stand there, and no run changes one of the three weights.
    """
    layers = enumerate(layers_of(model) if is_post_norm(model.layout) else [])
    stand_ins = {
        one: OneProductLayer(model, number)
        for number, one in layers
        if not isinstance(one, LastLayer) and not _changes_weights(model, number)
    }
    return standing_in([model.backbone], stand_ins)


def _changes_weights(model: LoadedModel, number: int) -> bool:
    """Whether runs change the weights of a layer's queries, keys or values."""
    slots = (slot for slot in (*model.layout.slots, *model.layout.addable) if slot.layer == number)
    modules = {slot.module for slot in slots if slot.term in _TERMS}
    return any(isinstance(model.backbone.get_submodule(module), LowRankShared) for module in modules)
