"""Triton kernels of :mod:`beft_core.training.acceleration.fused.rounded_norm`: one program per token, which holds its
whole hidden state, so that the state is read once, forward and backward.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

MAX_WIDTH = 2**14
"""Most elements of a hidden state that a program holds in its registers."""


@triton.jit
def _forward(x, weight, bias, out, mean, scale, width, eps, per_bias, BIAS: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < width
    start = row.to(tl.int64) * width
    value = tl.load(x + start + at, mask=inside, other=0.0).to(tl.float32)
    middle = tl.sum(value, 0) / width
    value = tl.where(inside, value - middle, 0.0)
    factor = 1 / tl.sqrt(tl.sum(value * value, 0) / width + eps)
    value *= factor
    value *= tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
    if BIAS:
        own = (row // per_bias).to(tl.int64) * width
        value += tl.load(bias + own + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + start + at, value.to(out.dtype.element_ty), mask=inside)
    tl.store(mean + row, middle)
    tl.store(scale + row, factor)


@triton.jit
def _backward(grad, x, weight, mean, scale, out, width, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < width
    start = row.to(tl.int64) * width
    factor = tl.load(scale + row)
    normal = (tl.load(x + start + at, mask=inside, other=0.0).to(tl.float32) - tl.load(mean + row)) * factor
    normal = tl.where(inside, normal, 0.0)
    of_normal = tl.load(grad + start + at, mask=inside, other=0.0).to(tl.float32)
    of_normal *= tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
    along = tl.sum(of_normal * normal, 0) / width
    level = tl.sum(of_normal, 0) / width
    value = (of_normal - normal * along - level) * factor
    tl.store(out + start + at, value.to(out.dtype.element_ty), mask=inside)


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise in float32 and round: [n, width] -> bfloat16 [n, width], and float32 [n] each the mean and the factor.

    ``x`` is contiguous; ``weight`` is [width], and ``bias`` [width] or [groups, width], contiguous: one for each of so
    many equal parts of the rows.
    """
    rows, width = x.shape
    per_bias = rows if bias is None else rows * width // bias.numel()
    out = torch.empty_like(x, dtype=torch.bfloat16)
    mean, scale = (torch.empty(rows, dtype=torch.float32, device=x.device) for _ in range(2))
    block = triton.next_power_of_2(width)
    _forward[(rows,)](
        *(x, weight, weight if bias is None else bias, out, mean, scale, width, eps, per_bias),
        BIAS=bias is not None,
        BLOCK=block,
        num_warps=_warps(block),
    )
    return out, mean, scale


def backward(grad: Tensor, x: Tensor, weight: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Compute the gradient of the input, [n, width] in its type, of that of the output [n, width], both contiguous."""
    rows, width = x.shape
    out = torch.empty_like(x)
    block = triton.next_power_of_2(width)
    _backward[(rows,)](grad, x, weight, mean, scale, out, width, BLOCK=block, num_warps=_warps(block))
    return out


def _warps(block: int) -> int:
    """Choose how many warps share a hidden state: 16 elements or more for each thread."""
    return min(16, max(1, block // 512))
