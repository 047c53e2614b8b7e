"""Computation of the last layer for the tokens that the heads read, and no others.

A head reads one vector of an example, and the last layer is the last to carry something from one token to another: its
other tokens serve as keys and values, and what comes after that is computed for the tokens that are read. That leaves
out most of one layer, forward and backward, and changes nothing but what dropout draws and the order of sums. A model
that is trained as transformers has it computes all of it.

Keys and values of packed examples are then held once more, each example as wide as a row. Where one example is very
much longer than the others, that is more memory than the layer saves: 178 MB instead of 140 for two layers, 384 wide,
of 64 examples of which one has 512 tokens and the others 12; at 128 tokens it is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from beft_core.architectures.layout import BiasSlot, Layout
from beft_core.models.biases import LoadedModel
from beft_core.training.acceleration.post_norm_layer import PostNormLayer, is_post_norm
from beft_core.training.batches.arrange import DevicePass
from beft_core.training.batches.by_example import ByExample
from beft_core.training.batches.reader import Reader
from beft_core.training.module_swap import standing_in


def reads_few(layout: Layout) -> bool:
    """Whether the last layer of such a model can be computed for some tokens only, and heads do not read them all."""
    return is_post_norm(layout) and layout.head.pooling != "mean"


class LastLayer(PostNormLayer):
    """Last layer for the tokens that are read, one of each example. Its fields are set before each pass."""

    read_at: Tensor | None = None
    """Positions of the hidden states that are read among all rows * tokens, int64 [examples]."""
    length: Tensor | None = None
    """Number of tokens of each example, int64 [examples]."""
    by_example: ByExample | None = None
    """Map of tokens from rows to examples; None: row i is example i."""

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        """Compute the layer, [rows, tokens, hidden] -> [examples, hidden]. The mask is made here, of the lengths."""
        assert self.read_at is not None and self.length is not None, "only LastLayerReader says which tokens are read"
        x = hidden.flatten(0, 1).index_select(0, self.read_at)
        q, k, v = self.of("q")(x)[:, None], self.of("k")(hidden), self.of("v")(hidden)
        if self.by_example is not None:
            k, v = self.by_example(k), self.by_example(v)
        logits = torch.matmul(self.by_head(q * self.head_dim**-0.5), self.by_head(k).transpose(2, 3))
        beyond = torch.arange(k.shape[1], device=k.device) >= self.length[:, None]
        weights = logits.masked_fill(beyond[:, None, None], float("-inf")).softmax(-1).to(v.dtype)
        # (examples, heads, 1, tokens), but two axes for dropout: numbering the elements of four whose sizes it does not
        # know keeps a compiler busy for minutes.
        weights = self.at(self.block.attention_dropout)(weights.flatten(0, 2)).view_as(weights)
        return self.after_attention(torch.matmul(weights, self.by_head(v)).flatten(1), x)


class LastLayerReader(Reader):
    """Reader that puts :class:`LastLayer` in the place of a model's last layer, and tells it which tokens each pass
    reads.
    """

    by_example = True

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._last: LastLayer | None = None

    def sees_examples(self, slot: BiasSlot) -> bool:
        """Whether a slot's module sees one vector per example: in the last layer, but for keys and values, which are
        those of all tokens.
        """
        return slot.layer == self._model.layout.layers - 1 and slot.term not in ("k", "v")

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Make the last layer compute only what is read while the context is open."""
        number = self._model.layout.layers - 1
        layer = self._model.backbone.get_submodule(self._model.layout.layer_path(number))
        self._last = LastLayer(self._model, number)
        try:
            with standing_in([self._model.backbone], {layer: self._last}):
                yield
        finally:
            self._last = None

    def vectors(self, backbone: Any, one: DevicePass) -> Tensor:
        """Compute the vectors of a pass that heads read, [examples, hidden]."""
        assert self._last is not None, "the reader is not installed"
        self._last.read_at, self._last.length = one.vector_at[:, 0], one.length
        self._last.by_example = one.by_example
        return backbone(**one.inputs)[0]


def reader_of(model: LoadedModel) -> Reader:
    """Choose the reader that computes least: of the last layer where that can be, else the plain one."""
    return LastLayerReader(model) if reads_few(model.layout) else Reader()
