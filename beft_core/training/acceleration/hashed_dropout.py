"""Dropout whose mask is a hash of the element's number: nothing is drawn, and nothing is kept for backward.

PyTorch draws dropout on a GPU with Philox, ten rounds for every element; in a compiled layer of BERT that takes longer
than reading and writing the activations themselves. Which elements are dropped needs no such generator: here the number
of the element goes through the two multiplications of a 32-bit integer hash ("lowbias32", the constants from
https://github.com/skeeto/hash-prospector), with one word of a key before and one between them. The key is 64 random
bits for each dropout of each pass, from torch's generator on the device, so that ``torch.manual_seed`` holds. The
probability is a multiple of 2**-32, and backward computes the mask again.

As many single operations this would be slow; it is meant for compiled layers and for kernels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from beft_core.training.module_swap import standing_in

FIRST, SECOND = 0x7FEB352D, 0x846CA68B
"""Multipliers of the hash."""
_LEVELS = 1 << 32


def threshold_of(p: float) -> tuple[int, float]:
    """Compute (threshold, scale) of a dropout: an element is kept where its hash, as a signed 32-bit number, is at
    least the first; then it is multiplied by the second, the inverse of the probability of that.
    """
    dropped = min(round(p * _LEVELS), _LEVELS - 1)
    return dropped - _LEVELS // 2, _LEVELS / (_LEVELS - dropped)


def hashed(numbers: Tensor, key: Tensor) -> Tensor:
    """Hash each number: int32 of any shape, and ``key`` int32 [2 or more] -> int32. Products wrap around."""
    x = numbers ^ key[0]
    x = (x ^ _shifted(x, 16)) * FIRST
    x = (x ^ _shifted(x, 15)) + key[1]
    x = x * (SECOND - _LEVELS)  # the same 32 bits as a signed number
    return x ^ _shifted(x, 16)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shift to the right, with zeros coming in."""
    return (x >> bits) & ((1 << (32 - bits)) - 1)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, key: Tensor, p: float) -> Tensor:
        ctx.save_for_backward(key)
        ctx.p = p
        return _masked(x, key, p)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _masked(grads[0], ctx.saved_tensors[0], ctx.p), None, None


def _masked(x: Tensor, key: Tensor, p: float) -> Tensor:
    threshold, scale = threshold_of(p)
    numbers = torch.arange(x.numel(), dtype=torch.int32, device=x.device).view(x.shape)
    return torch.where(hashed(numbers, key) >= threshold, x * scale, 0.0)


class HashedDropout(nn.Module):
    """Module that stands in for ``nn.Dropout``. ``dropout_key`` is set before each pass (see :func:`hand_out_keys`)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.dropout_key: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Apply dropout to a tensor of any shape, with less than 2**31 elements."""
        if not self.training or not self.p:
            return x
        assert self.dropout_key is not None
        return _Dropout.apply(x, self.dropout_key, self.p)


@contextmanager
def hashed_dropout(layers: Iterable[nn.Module]) -> Iterator[list[nn.Module]]:
    """Make every dropout inside of ``layers`` a hashed one while the context is open; yields the modules that need
    keys.
    """
    layers = list(layers)
    stand_ins: dict[nn.Module, nn.Module] = {
        child: HashedDropout(child.p).train(child.training)
        for layer in layers
        for parent in layer.modules()
        for child in parent.children()
        if type(child) is nn.Dropout
    }
    with standing_in(layers, stand_ins):
        yield list(stand_ins.values())


def hand_out_keys(modules: Sequence[nn.Module], device: torch.device) -> None:
    """Give each module a fresh ``dropout_key``, all drawn at once; four words each, since kernels like aligned
    addresses.
    """
    keys = torch.randint(-(2**31), 2**31, (len(modules), 4), dtype=torch.int32, device=device)
    for module, key in zip(modules, keys.unbind(), strict=True):
        module.dropout_key = key
