"""Of the last layer, only what the heads read.

A head reads one vector of an example, and the last layer is the last to carry something from one token to another: its
other tokens serve as keys and values, and what comes after that is computed for the tokens that are read. That leaves
out most of one layer, forward and backward, and changes nothing but what dropout draws and the order of sums. A model
that is trained as transformers has it computes all of it.

Keys and values of packed examples are then held once more, each example as wide as a row. Where one example is very
much longer than the others, that is more memory than the layer saves: 178 MB instead of 140 for two layers, 384 wide,
of 64 examples of which one has 512 tokens and the others 12; at 128 tokens it is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from beft_core.architectures.layout import BiasSlot, Layout
from beft_core.models.biases import LoadedModel
from beft_core.training.acceleration.post_norm_layer import PostNormLayer, is_post_norm


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
    return model.backbone.get_submodule(model.layout.layer_path(number)), LastLayer(model, number)


class LastLayer(PostNormLayer):
    """The layer for the tokens that are read, one of each example. What it needs to know is set before each pass."""

    read_at: Tensor | None = None
    """int64 [examples]: which of all rows * tokens hidden states are read."""
    length: Tensor | None = None
    """int64 [examples]: the tokens of each."""
    by_example: ByExample | None = None
    """How tokens get from rows to examples; None: row i is example i."""

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        """[rows, tokens, hidden] -> [examples, hidden]. The mask is made here, of the lengths."""
        assert self.read_at is not None and self.length is not None, "only Bank.vectors says which tokens are read"
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


@dataclass(frozen=True)
class ByExample:
    """Takes tokens from rows, in which several examples may stand, to a row for each example.

    The way back is the same kind of step, since each token belongs to one example: nothing is added up, which on a GPU
    would take long and be done in any order.
    """

    start: Tensor
    """int64 [examples]: where each begins in the flattened rows."""
    length: Tensor
    """int64 [examples]: the tokens of each."""
    place: Tensor
    """int64 [rows * width]: where each token is afterwards, example * width + position; -1 for padding."""

    def __call__(self, x: Tensor) -> Tensor:
        """[rows, width, H] -> [examples, width, H], zeros past the end of an example."""
        return _Rearranged.apply(x, self.start, self.length, self.place)


class _Rearranged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, start: Tensor, length: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        ctx.shape = x.shape
        position = torch.arange(x.shape[1], device=x.device)
        at = torch.where(position < length[:, None], start[:, None] + position, -1)
        return _taken(x.flatten(0, 1), at.view(-1)).view(*at.shape, x.shape[2])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (place,) = ctx.saved_tensors
        return _taken(grads[0].flatten(0, 1), place).view(ctx.shape), None, None, None


def _taken(x: Tensor, at: Tensor) -> Tensor:
    """``x[at]``, zeros where ``at`` is negative. They are not made by a product, so that nothing of another run's NaN
    gets there.
    """
    return torch.where(at[:, None] >= 0, x.index_select(0, at.clamp(min=0)), 0.0)
