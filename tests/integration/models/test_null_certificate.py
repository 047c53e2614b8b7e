"""The null certificate on every architecture, and what happens when rule and numbers disagree."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tiny_models import CONFIGS, KEY_ACTS, inputs, tiny

from beft_core.architectures.layout import KeyRule
from beft_core.models import null_certificate as certificate
from beft_core.models.biases import add_zero_bias, biases, set_bias
from beft_core.models.load import load_model
from beft_core.models.null_certificate import TOLERANCE, null_certificate, null_terms


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
@pytest.mark.parametrize("name", CONFIGS)
def test_rule_and_numbers_agree(name: str, attn: str) -> None:
    model = tiny(name, attn=attn, dtype=torch.float32)
    for term in ("q", "k", "v"):
        if name != "deberta" or term != "k":
            add_zero_bias(model, term)
    for term, report in null_certificate(model).items():
        assert report.agrees, (term, report)
        assert report.null == (term == "k" and name not in KEY_ACTS)
        # No borderline case: a null term is far below the tolerance and any other far above.
        assert report.max_change < TOLERANCE / 5 or report.max_change > 100 * TOLERANCE


def test_bundled_model() -> None:
    model = load_model()
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    report = null_certificate(model)
    assert null_terms(model) == ("k",)
    assert report["k"].max_change < 1e-12
    assert min(report["q"].max_change, report["v"].max_change) > 0.1
    after = model.backbone.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert {value.dtype for value in after.values()} == {torch.float32}


def test_parameters_and_buffers_are_restored_bit_by_bit() -> None:
    model = tiny("llama-bias", dtype=torch.float32)
    before = [t.clone() for t in (*model.backbone.parameters(), *model.backbone.buffers())]
    identities = [id(parameter) for parameter in model.backbone.parameters()]
    null_certificate(model)
    after = [*model.backbone.parameters(), *model.backbone.buffers()]
    assert all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert identities == [id(parameter) for parameter in model.backbone.parameters()]


@pytest.mark.parametrize("name", ["opt", "gpt_neox", "albert", "deberta-v2", "gemma3_text-bias"])
def test_a_large_model_is_turned_one_layer_at_a_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(name, dtype=torch.float32)
    at_once = null_certificate(model)
    monkeypatch.setattr(certificate, "AT_ONCE", 0)
    before = [t.clone() for t in (*model.backbone.parameters(), *model.backbone.buffers())]
    wide: list[int] = []
    forward = torch.nn.Linear.forward

    def watched(module: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
        assert x.dtype == module.weight.dtype == torch.float64
        weights = [p for name, p in model.backbone.named_parameters() if ".weight" in name and p.dim() == 2]
        wide.append(sum(p.dtype == torch.float64 for p in weights) - len(weights))
        return forward(module, x)

    monkeypatch.setattr(torch.nn.Linear, "forward", watched)
    one_by_one = null_certificate(model)
    after = [*model.backbone.parameters(), *model.backbone.buffers()]
    assert all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert wide and max(wide) < 0  # some layer is always as it was
    assert one_by_one.keys() == at_once.keys()
    for term, report in one_by_one.items():
        assert report.null == at_once[term].null and report.agrees
        np.testing.assert_array_equal(report.elements, at_once[term].elements)
        assert report.max_change == pytest.approx(at_once[term].max_change, rel=1e-5, abs=TOLERANCE / 5)
    layers = [model.backbone.get_submodule(model.layout.layer_path(n)) for n in range(model.layout.layers)]
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers)


def test_a_layer_that_fails_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate, "AT_ONCE", 0)
    model = tiny("opt", dtype=torch.float32)
    model.backbone.decoder.layers[1].fc2.register_forward_hook(lambda *_: 1 / 0)  # type: ignore[union-attr, index]
    with pytest.raises(ZeroDivisionError):
        null_certificate(model)
    assert {value.dtype for value in model.backbone.parameters()} == {torch.float32}


@pytest.mark.parametrize(("name", "claimed"), [("llama-bias", True), ("bert", False)])
def test_a_disagreement_is_reported_and_never_certified(name: str, claimed: bool) -> None:
    model = tiny(name)
    model.layout = dataclasses.replace(model.layout, key_rule=KeyRule(claimed, "a wrong rule"))
    report = null_certificate(model)["k"]
    assert (report.rule, report.numeric, report.null, report.agrees) == (claimed, not claimed, False, False)
    assert "k" not in null_terms(model)


@pytest.mark.parametrize("name", ["bert", "gpt2", "bloom"])
def test_the_gradient_of_a_null_term_is_rounding_noise(name: str) -> None:
    model = tiny(name, attn="sdpa")
    model.backbone.requires_grad_(True)
    model.backbone(**inputs(model)).last_hidden_state.pow(3).sum().backward()
    norm = {}
    for term in ("q", "k"):
        slot = model.layout.slots_of(term)[0]
        norm[term] = float(model.backbone.get_parameter(slot.parameter).grad[slot.index].norm())
    assert norm["k"] < 1e-4 * norm["q"]  # BLOOM computes its softmax in float32


def test_only_the_rotated_dimensions_of_gpt_neox_act() -> None:
    model = tiny("gpt_neox", attn="sdpa")
    with torch.no_grad():
        base = model.backbone(**inputs(model)).last_hidden_state
    values = biases(model)["decoder", "k"].reshape(model.layout.layers, model.layout.heads, -1)
    half = model.layout.head_dim // 2  # rotary_pct of the tiny model
    for name, dimensions in (("rotated", slice(0, half)), ("passed", slice(half, None))):
        changed = values.astype(np.float64).copy()
        changed[..., dimensions] += 3.0
        rows = changed.reshape(model.layout.layers, -1)
        for slot, row in zip(model.layout.slots_of("k"), rows, strict=True):
            set_bias(model.backbone, slot, row)
        with torch.no_grad():
            change = (model.backbone(**inputs(model)).last_hidden_state - base).abs().max()
        assert (change > 1e-3) if name == "rotated" else (change < 1e-5)
