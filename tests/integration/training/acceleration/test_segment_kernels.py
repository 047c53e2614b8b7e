"""The kernels of attention by segments against float64, forward and backward.

Without a GPU, Triton's interpreter runs them (see conftest.py); with one, they are compiled and multiply in bfloat16.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from beft_core.training.acceleration.hashed_dropout import hashed, threshold_of
from beft_core.training.acceleration.segment_attention import product_attention
from beft_core.training.acceleration.segment_attention import segment_attention as attend

pytest.importorskip("triton", reason="comes with PyTorch's builds for GPUs, and with this project's dev extra on Linux")

ON_GPU = torch.cuda.is_available()
DEVICE, DTYPE, TOLERANCE = ("cuda", torch.bfloat16, 3e-2) if ON_GPU else ("cpu", torch.float32, 1e-5)


def exactly(q: Tensor, k: Tensor, v: Tensor, segments: Tensor | None, key: Tensor, p: float, causal: bool) -> Tensor:
    """The same with a mask and every probability written down, in float64."""
    logits = (q.double() @ k.double().mT) * 0.3
    if segments is not None:
        logits = logits.masked_fill(~(segments[:, None, :, None] == segments[:, None, None, :]), -math.inf)
    if causal:
        logits = logits.masked_fill(torch.ones_like(logits[0, 0], dtype=torch.bool).triu(1), -math.inf)
    weights = logits.softmax(-1)
    threshold, scale = threshold_of(p)
    numbers = torch.arange(weights.numel(), dtype=torch.int32, device=DEVICE).view(weights.shape)
    weights = torch.where(hashed(numbers, key) >= threshold, weights * scale, 0.0)
    return (weights @ v.double()).transpose(1, 2)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize(
    ("rows", "heads", "tokens", "width", "p"),
    [(3, 2, 20, 8, 0.1), (2, 3, 16, 32, 0.3), (1, 2, 70, 64, 0.1), (1, 1, 128, 128, 0.0), (2, 1, 5, 20, 0.5)],
)
def test_against_float64(
    rows: int, heads: int, tokens: int, width: int, p: float, segmented: bool, causal: bool
) -> None:
    torch.manual_seed(tokens)
    made = (torch.randn(rows, tokens, heads, width, device=DEVICE, dtype=DTYPE) for _ in range(3))
    q, k, v = (one.transpose(1, 2).requires_grad_() for one in made)
    numbers = torch.randint(0, 3, (rows, tokens), dtype=torch.int32, device=DEVICE)
    segments = numbers.sort(1).values if segmented else None
    key = torch.randint(-(2**31), 2**31, (4,), dtype=torch.int32, device=DEVICE)
    out = attend(q, k, v, segments, key=key if p else None, p=p, scale=0.3, causal=causal)
    expected = exactly(q, k, v, segments, key, p, causal)
    torch.testing.assert_close(out.double(), expected, atol=TOLERANCE, rtol=TOLERANCE)
    weight = torch.randn_like(out)
    got = torch.autograd.grad(out, (q, k, v), weight)
    for one, other in zip(got, torch.autograd.grad(expected, (q, k, v), weight.double()), strict=True):
        torch.testing.assert_close(one.double(), other.double(), atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize(
    ("rows", "heads", "tokens", "width", "p", "biased"),
    [
        (3, 2, 20, 8, 0.1, "qkv"),
        (2, 3, 16, 32, 0.0, "v"),
        (1, 2, 70, 64, 0.1, "q"),
        (2, 1, 5, 20, 0.5, "kv"),
        (1, 1, 128, 128, 0.1, "v"),
        (2, 2, 9, 16, 0.1, ""),
    ],
)
def test_of_one_product_with_biases_of_rows(
    rows: int, heads: int, tokens: int, width: int, p: float, biased: str, segmented: bool
) -> None:
    torch.manual_seed(tokens)
    product = torch.randn(rows, tokens, 3, heads, width, device=DEVICE, dtype=DTYPE).requires_grad_()
    biases = [torch.randn(rows, heads * width, device=DEVICE).requires_grad_() if t in biased else None for t in "qkv"]
    numbers = torch.randint(0, 3, (rows, tokens), dtype=torch.int32, device=DEVICE)
    segments = numbers.sort(1).values if segmented else None
    key = torch.randint(-(2**31), 2**31, (4,), dtype=torch.int32, device=DEVICE)
    out = product_attention(product, biases, segments, key=key if p else None, p=p, scale=0.3)
    parts = []
    for part, bias in zip(product.unbind(2), biases, strict=True):
        biased_part = part if bias is None else part + bias.view(rows, 1, heads, width)
        parts.append(biased_part.to(DTYPE).transpose(1, 2))
    expected = exactly(*parts, segments, key, p, False)
    torch.testing.assert_close(out.double(), expected, atol=TOLERANCE, rtol=TOLERANCE)
    weight = torch.randn_like(out)
    trained = [product, *(bias for bias in biases if bias is not None)]
    ours = torch.autograd.grad(out, trained, weight)
    for one, other in zip(ours, torch.autograd.grad(expected, trained, weight.double()), strict=True):
        # That of the key bias is zero but for rounding, so all are measured against the whole product's.
        assert one.dtype == other.dtype
        assert (one.double() - other.double()).norm() < TOLERANCE * ours[0].double().norm()


def test_a_layout_of_memory_that_is_not_the_usual_one() -> None:
    torch.manual_seed(0)
    # The width is not the last axis in memory.
    q, k, v = (torch.randn(2, 3, 8, 11, device=DEVICE, dtype=DTYPE).transpose(2, 3) for _ in range(3))
    key = torch.zeros(4, dtype=torch.int32, device=DEVICE)
    out = attend(q, k, v, None, key=None, p=0.0, scale=0.3, causal=False)
    torch.testing.assert_close(out.double(), exactly(q, k, v, None, key, 0.0, False), atol=TOLERANCE, rtol=TOLERANCE)


def test_gradients_of_the_three_lie_side_by_side() -> None:
    """As the product that they came from: [rows, tokens, 3, heads, width], whatever the layout of q, k and v."""
    from beft_core.training.acceleration import segment_kernels

    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 7, 16, device=DEVICE, dtype=DTYPE).requires_grad_() for _ in range(3))
    none = (None, None, None)
    out = segment_kernels.forward(q, k, v, none, None, None, 0.0, 0.3, True)
    assert out.shape == (2, 7, 3, 16) and out.dtype == DTYPE
    weight = torch.randn_like(out)
    grads = segment_kernels.backward(q, k, v, none, weight, None, None, 0.0, 0.3, True)
    expected = exactly(q, k, v, None, torch.zeros(4, dtype=torch.int32, device=DEVICE), 0.0, True)
    for at, one in enumerate(torch.autograd.grad(expected, (q, k, v), weight.double())):
        wanted = one.transpose(1, 2).double()
        torch.testing.assert_close(grads[:, :, at].double(), wanted, atol=TOLERANCE, rtol=TOLERANCE)
