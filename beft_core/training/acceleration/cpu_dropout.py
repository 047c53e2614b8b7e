"""Dropout that is not the slowest part of a small fine-tune on a CPU.

PyTorch's CPU dropout draws one float per element from a serial generator; in a b_v step of a small model that takes
a third of the time. Here one 64-bit draw serves four elements: each element is dropped when its 16 bits fall below
``round(p * 2**16)``. The probability is therefore a multiple of 2**-16 (0.1 becomes 0.1000061), and the kept elements
are scaled by exactly its complement. The generator is torch's own, so ``torch.manual_seed`` holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from beft_core.training.module_swap import attention_called, for_every_head, takes_attention

_LEVELS = 1 << 16
ATTENTION_NAME = "beft_cpu"
"""Name under which the attention function is registered with transformers."""


class _Dropout(torch.autograd.Function):
    """Product ``x * kept / P(kept)``; keeps one byte per element for backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: int) -> Tensor:
        count = x.numel()
        draws = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        kept = (draws.view(torch.int16)[:count] >= threshold - _LEVELS // 2).view(x.shape)
        ctx.save_for_backward(kept)
        ctx.scale = _LEVELS / (_LEVELS - threshold)
        return (x * kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return (grads[0] * kept).mul_(ctx.scale), None


def fast_dropout(x: Tensor, p: float) -> Tensor:
    """Apply dropout to a CPU tensor of any shape with probability ``p`` in [0, 1), rounded to a multiple of 2**-16."""
    threshold = round(p * _LEVELS)
    return _Dropout.apply(x, threshold) if threshold else x


def _attention(
    module: nn.Module,
    query: Tensor,  # (B, heads, T, hs)
    key: Tensor,  # (B, kv heads, S, hs)
    value: Tensor,  # (B, kv heads, S, hs)
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Compute softmax attention with :func:`fast_dropout`; SDPA falls back to the same arithmetic when dropout
    is on.
    """
    key, value = for_every_head(query, key, value)
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    scores = torch.matmul(query * scale, key.transpose(2, 3))  # (B, heads, T, S)
    if attention_mask is None:
        if query.shape[2] > 1 and kwargs.get("is_causal", getattr(module, "is_causal", False)):
            future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(future, float("-inf"))
    elif attention_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    else:
        scores = scores + attention_mask
    weights = scores.softmax(-1).to(value.dtype)
    if dropout:
        weights = fast_dropout(weights, dropout)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register(ATTENTION_NAME, _attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(ATTENTION_NAME, sdpa_mask)


@contextmanager
def cpu_dropout(backbone: nn.Module) -> Iterator[None]:
    """Make the dropout modules and the attention of ``backbone`` use :func:`fast_dropout` while the context is open.

    Attention is switched only where the model takes its attention function from transformers' registry and used
    ``sdpa`` before; other models keep their own.
    """
    patched: list[nn.Module] = []
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.forward = _forward_of(module)  # type: ignore[method-assign]
            patched.append(module)
    try:
        with attention_called(backbone, ATTENTION_NAME) if takes_attention(backbone) else nullcontext():
            yield
    finally:
        for module in patched:
            del module.forward


def _forward_of(module: nn.Dropout) -> Any:
    return lambda x: fast_dropout(x, module.p) if module.training else x
