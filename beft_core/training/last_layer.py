"""Of the last layer, only what the heads read.

A head reads one vector of an example, and the last layer is the last to carry something from one token to another: its
other tokens serve as keys and values, and what comes after that is computed for the tokens that are read. That leaves
out most of one layer, forward and backward, and changes no number. A model that is trained as transformers has it
computes all of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from beft_core.layout import BiasSlot, Layout
from beft_core.models import LoadedModel
from beft_core.training.post_norm import PostNormLayer, is_post_norm, layer_path


def reads_few(layout: Layout) -> bool:
    """Whether the last layer of such a model can be computed for some tokens only, and heads do not read them all."""
    return is_post_norm(layout) and layout.head.pooling != "mean"


def sees_examples(layout: Layout, slot: BiasSlot) -> bool:
    """Whether a term's module then gets the vectors of examples, and not the tokens of rows."""
    return reads_few(layout) and slot.layer == layout.layers - 1 and slot.term not in ("k", "v")


def last_layer_of(model: LoadedModel) -> tuple[nn.Module, LastLayer] | None:
    """The last layer of a model and what can stand in for it, if anything."""
    if not reads_few(model.layout):
        return None
    number = model.layout.layers - 1
    return model.backbone.get_submodule(layer_path(model, number)), LastLayer(model, number)


class LastLayer(PostNormLayer):
    """The layer for the tokens that are read, one of each example. What it needs to know is set before each pass."""

    read_at: Tensor | None = None
    """int64 [examples]: which of all rows * tokens hidden states are read."""
    row_of: Tensor | None = None
    """int64 [examples]: the row of each; None: row i is example i."""
    segments: Tensor | None = None
    """[rows, tokens]: the number of each token's example; None: a row is one example, without padding."""

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        """[rows, tokens, hidden] -> [examples, hidden]. Masks are made here, of ``segments``."""
        assert self.read_at is not None
        x = hidden.flatten(0, 1).index_select(0, self.read_at)
        k, v, segments = self.of("k")(hidden), self.of("v")(hidden), self.segments
        if self.row_of is not None:
            # Examples of one row add up their gradients in any order: outside of its own tokens, each adds zeros.
            k, v = k.index_select(0, self.row_of), v.index_select(0, self.row_of)
            segments = segments if segments is None else segments.index_select(0, self.row_of)
        q = self.of("q")(x)[:, None] * self.head_dim**-0.5
        logits = torch.matmul(self.by_head(q), self.by_head(k).transpose(2, 3))  # (examples, heads, 1, tokens)
        if segments is not None and self.segments is not None:
            own = self.segments.flatten().index_select(0, self.read_at)
            logits = logits.masked_fill(own[:, None, None, None] != segments[:, None, None], float("-inf"))
        weights = logits.softmax(-1).to(v.dtype)
        # Two axes: numbering the elements of four whose sizes it does not know keeps a compiler busy for minutes.
        weights = self.at(self.block.attention_dropout)(weights.flatten(0, 2)).view_as(weights)
        return self.after_attention(torch.matmul(weights, self.by_head(v)).flatten(1), x)
