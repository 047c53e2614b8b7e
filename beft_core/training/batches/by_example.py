"""Rearrangement of the tokens of packed rows to one row for each example, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class ByExample:
    """Map of tokens from rows, in which several examples may stand, to one row for each example.

    The gradient goes back by the same kind of step, since each token belongs to one example: nothing is added up,
    which on a GPU would take long and be done in any order.
    """

    start: Tensor
    """Position at which each example begins in the flattened rows, int64 [examples]."""
    length: Tensor
    """Number of tokens of each example, int64 [examples]."""
    place: Tensor
    """Place of each token afterwards, example * width + position, int64 [rows * width]; -1 for padding."""

    def __call__(self, x: Tensor) -> Tensor:
        """Rearrange [rows, width, H] -> [examples, width, H], zeros past the end of an example."""
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
    """Gather ``x[at]``, zeros where ``at`` is negative. They are not made by a product, so that nothing of another
    run's NaN gets there.
    """
    return torch.where(at[:, None] >= 0, x.index_select(0, at.clamp(min=0)), 0.0)
