"""Attention by segments: against float64, and in the fine-tunes of models.

Without a GPU, Triton's interpreter runs the kernels (see conftest.py); with one, they are compiled and multiply in
bfloat16.
"""

from __future__ import annotations

import math
import types
from typing import Any

import pytest
import torch
from tiny_models import CONFIGS, tiny
from torch import Tensor
from training_tools import attend_by_segments, difference, short, trace_layers

from beft_core.training.acceleration import segment_attention, session
from beft_core.training.acceleration.hashed_dropout import hashed, threshold_of
from beft_core.training.acceleration.segment_attention import (
    attends_plainly,
    attention_by,
    fits,
    product_attention,
    serves,
)
from beft_core.training.acceleration.segment_attention import segment_attention as attend

pytest.importorskip("triton", reason="comes with PyTorch's builds for GPUs, and with this project's dev extra on Linux")

PLAIN = {
    "bert",
    "roberta",
    "electra",
    "distilbert",
    "opt",
    "gpt2",
    "gpt_neox",
    "gpt_neox-no-bias",
    "llama",
    "llama-bias",
}
"""Architectures whose attention is softmax over what a mask shows, once per layer."""
NO_BIAS = {"gpt_neox-no-bias", "llama"}


ON_GPU = torch.cuda.is_available()
DEVICE, DTYPE, TOLERANCE = ("cuda", torch.bfloat16, 3e-2) if ON_GPU else ("cpu", torch.float32, 1e-5)
interpreted = pytest.mark.skipif(ON_GPU, reason="the kernels are compiled for the GPU, and this is about a CPU")


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


def test_the_operators_are_what_compilers_expect() -> None:
    q, k, v = (torch.randn(2, 2, 6, 16, device=DEVICE) for _ in range(3))
    segments, key = (torch.ones(*shape, dtype=torch.int32, device=DEVICE) for shape in ((2, 6), (4,)))
    rest = (segments, key, 0.2, 0.3, False)
    checks = ("test_schema", "test_faketensor")
    grad, bias = torch.randn(2, 6, 2, 16, device=DEVICE), torch.randn(2, 32, device=DEVICE)
    for biases in ((None, None, None), (None, None, bias), (bias, bias, bias)):
        torch.library.opcheck(torch.ops.beft.segment_attention, (q, k, v, *biases, *rest), test_utils=checks)
        backward = torch.ops.beft.segment_attention_backward
        torch.library.opcheck(backward, (q, k, v, *biases, grad, *rest), test_utils=checks)


def test_wide_rows_and_heads_do_not_fit() -> None:
    assert fits(128, 128) and not fits(129, 64) and not fits(64, 129)


def test_which_models_attend_plainly() -> None:
    plain = {name for name in CONFIGS if name != "vit" and attends_plainly(tiny(name, attn="sdpa"))}
    assert plain == PLAIN
    assert not attends_plainly(tiny("bert", attn="eager"))


@pytest.mark.parametrize(
    ("device", "low", "has", "expected"),
    [
        ("cuda", True, True, True),
        ("cpu", True, True, False),
        ("cuda", False, True, False),
        ("cuda", True, False, False),
    ],
)
def test_it_serves_bfloat16_on_a_gpu_with_triton(
    device: str, low: bool, has: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_attention, "has_triton", lambda: has)
    precision: Any = types.SimpleNamespace(device=torch.device(device), low=low)
    assert serves(tiny("bert", attn="sdpa"), precision) is expected


def test_the_attention_is_given_back() -> None:
    model = tiny("bert", attn="sdpa")
    with attention_by(model, "segments") as modules:
        assert len(modules) == model.layout.layers
        modules[0].dropout_key = torch.zeros(4)
        assert model.backbone.config._attn_implementation == "beft_segments"
    assert model.backbone.config._attn_implementation == "sdpa"
    assert not hasattr(modules[0], "dropout_key")


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fine-tunes on this CPU attend by segments; the types of the models that did."""
    return attend_by_segments(monkeypatch)


@interpreted
@pytest.mark.parametrize(
    ("name", "pad"),
    [(name, "packed") for name in sorted(PLAIN - NO_BIAS)] + [("roberta", "longest"), ("opt", "longest")],
)
def test_a_fine_tune_is_the_same(name: str, pad: str, everywhere: list[str]) -> None:
    by_segments = short(name, pad=pad)
    assert everywhere
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "serves", lambda *_: False)
        by_masks = short(name, pad=pad)
    assert max(difference(a, b) for a, b in zip(by_segments, by_masks, strict=True)) < 1e-5


@interpreted
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_dropout_acts_and_repeats(name: str, everywhere: list[str]) -> None:
    first, again = (short(name, dropout=True) for _ in range(2))
    assert difference(first[0], again[0]) == 0.0
    assert difference(first[0], short(name)[0]) > 1e-4


@interpreted
def test_layers_can_be_compiled_around_it(everywhere: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    traced = trace_layers(monkeypatch)
    plain, compiled = (short("bert", n=4, longest=3, dropout=True, compile=compile) for compile in (False, True))
    assert traced == ["OneProductLayer", "LastLayer"]
    assert max(difference(a, b) for a, b in zip(plain, compiled, strict=True)) < 1e-5
