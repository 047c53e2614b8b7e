"""GELU by a short formula, where its result is rounded to bfloat16 anyway.

A compiled layer of BERT takes longer for the error function of its 3072 inner units than for reading and writing them.
Formula 7.1.26 of Abramowitz and Stegun, *Handbook of Mathematical Functions* (1964), is within 1.5e-7 of it, which is
about one part in a thousand of what rounding does to a result around 0.1. It is differentiated as what it stands for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import GELUActivation

from beft_core.training.module_swap import standing_in

_T = 0.3275911
_TERMS = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


def normal(x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the distribution function and the density of the standard normal, float32 of any shape."""
    power = torch.exp(-0.5 * x * x)
    t = 1 / (1 + (_T * math.sqrt(0.5)) * x.abs())
    tail = torch.zeros_like(x)
    for term in reversed(_TERMS):
        tail = (tail + term) * t
    tail = 0.5 * tail * power
    return torch.where(x >= 0, 1 - tail, tail), power * (1 / math.sqrt(2 * math.pi))


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        exact = x.float()
        return (exact * normal(exact)[0]).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        exact = x.float()
        below, density = normal(exact)
        return (grads[0].float() * (below + exact * density)).to(x.dtype)


class ShortGelu(nn.Module):
    """Module that stands in for GELU in a layer that is compiled. Called without a compiler (in evaluations), where
    each of its operations would go through memory, it is PyTorch's own.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply GELU to a tensor of any shape: the same shape and type; computed in float32."""
        return _Gelu.apply(x) if torch.compiler.is_compiling() else F.gelu(x)


def _is_gelu(module: nn.Module) -> bool:
    return isinstance(module, GELUActivation) or (isinstance(module, nn.GELU) and module.approximate == "none")


@contextmanager
def short_gelu(layers: Iterable[nn.Module]) -> Iterator[None]:
    """Compute every exact GELU inside of ``layers`` by the short formula while the context is open."""
    layers = list(layers)
    stand_ins: dict[nn.Module, nn.Module] = {
        module: ShortGelu() for layer in layers for module in layer.modules() if _is_gelu(module)
    }
    with standing_in(layers, stand_ins):
        yield
