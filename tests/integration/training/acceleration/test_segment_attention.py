"""Attention by segments in the fine-tunes of models: which take it, and that they end at the same values.

Without a GPU, Triton's interpreter runs the kernels (see conftest.py).
"""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch
from tiny_models import CONFIGS, tiny
from training_tools import attend_by_segments, difference, short, trace_layers

from beft_core.models.packing import packed_forward_inputs
from beft_core.training.acceleration import segment_attention, session
from beft_core.training.acceleration.segment_attention import (
    attends_plainly,
    attention_by,
    fits,
    is_supported,
    scaled_by_attention,
)

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
    "gemma",
}
"""Architectures whose attention is softmax over what a mask shows, once per layer."""
NO_BIAS = {"gpt_neox-no-bias", "llama", "gemma"}


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
interpreted = pytest.mark.skipif(
    torch.cuda.is_available(), reason="the kernels are compiled for the GPU, and this is about a CPU"
)


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
    assert is_supported(tiny("bert", attn="sdpa"), precision) is expected


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
        patch.setattr(session, "is_supported", lambda *_: False)
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


@pytest.mark.parametrize("name", ["opt", "gpt2"])
@pytest.mark.parametrize("mask", ["segments", "additive"])
def test_attention_scales_the_logits_where_layers_would_scale_their_queries(name: str, mask: str) -> None:
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    model.backbone.to(DEVICE)
    modules = segment_attention.attention_modules(model)
    before = [getattr(module, "scaling", None) for module in modules]
    tokens = torch.arange(3, 15, device=DEVICE).view(2, 6)
    segments, positions = torch.ones_like(tokens), torch.arange(6, device=DEVICE).expand(2, -1)
    inputs = packed_forward_inputs(model, tokens, segments, positions, by_segments=mask == "segments")
    with torch.no_grad(), attention_by(model, mask):
        expected = model.backbone(**inputs)[0]
        with scaled_by_attention(model):
            assert {getattr(module, "scaling", None) for module in modules} == ({1.0} if name == "opt" else {*before})
            scaled = model.backbone(**inputs)[0]
    # On a GPU the kernel, which is for bfloat16, multiplies float32 numbers that are rounded to ten bits.
    rounding = 2e-3 if DEVICE == "cuda" and mask == "segments" else 1e-5
    torch.testing.assert_close(scaled, expected, rtol=rounding, atol=rounding)
    assert [getattr(module, "scaling", None) for module in modules] == before
    assert not any(hasattr(module, "logit_scale") for module in modules)
