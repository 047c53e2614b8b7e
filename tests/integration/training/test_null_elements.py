"""Null elements of a term that acts: certified, frozen in a probe, recorded; and what training them does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tiny_models import CONFIGS, inputs, tiny
from training_tools import config, fit

from beft_core.architectures.layout import KeyRule
from beft_core.architectures.resolve import layout_for
from beft_core.models.biases import add_zero_bias
from beft_core.models.null_certificate import null_certificate
from beft_core.snapshots.null_elements import mask_of, noise_share

PARTIAL = {  # name -> leading elements of each head of 8 that positions turn
    "gpt_neox": 4,
    "gptj": 4,
    "phi3-partial": 6,
}


@pytest.fixture(autouse=True)
def _a_phi3_with_partial_rotary(monkeypatch: pytest.MonkeyPatch) -> None:
    kind, values = CONFIGS["phi3"]
    monkeypatch.setitem(CONFIGS, "phi3-partial", (kind, {**values, "partial_rotary_factor": 0.75}))


@pytest.mark.parametrize("name", PARTIAL)
def test_the_certificate_is_right_about_every_single_element(name: str) -> None:
    model = tiny(name, attn="sdpa")
    add_zero_bias(model, "k")
    report = null_certificate(model)["k"]
    heads, acting = model.layout.kv_heads, PARTIAL[name]
    assert (report.null, report.agrees) == (False, True)
    np.testing.assert_array_equal(report.elements, np.tile(np.arange(8) >= acting, heads))

    # Independently: each element of the first layer alone, against the model's own output.
    with torch.no_grad():
        base = model.backbone(**inputs(model)).last_hidden_state
        slot = model.layout.slots_of("k")[0]
        bias = model.backbone.get_parameter(slot.parameter)
        positions = np.arange(len(bias))[slot.index]
        for element, at in enumerate(positions):
            before = bias[at].item()
            bias[at] += 3.0
            change = float((model.backbone(**inputs(model)).last_hidden_state - base).abs().max())
            bias[at] = before
            assert (change < 1e-5) == report.elements[element], (element, change)


def test_a_rule_that_calls_acting_elements_null_certifies_none() -> None:
    model = tiny("gpt_neox")
    model.layout = dataclasses.replace(model.layout, key_rule=KeyRule(False, "a wrong rule", acting=2))
    report = null_certificate(model)["k"]
    assert (report.agrees, report.elements.any(), report.null) == (False, False, False)


def test_a_probe_freezes_null_elements_and_records_them() -> None:
    (probe,) = fit("gpt_neox", config(mode="all", fisher=True, weight_decay=0.1))
    assert probe.meta.null_terms == () and "k" in probe.meta.trained_terms
    assert probe.meta.null_elements == {"k": ((4, 8), (12, 16), (20, 24), (28, 32))}
    null = mask_of(probe.meta.null_elements["k"], 32)
    moved = probe.post("decoder", "k") != probe.pre("decoder", "k")
    np.testing.assert_array_equal(moved, np.broadcast_to(~null, moved.shape))
    for variant in ("exact", "batch"):
        fisher = probe.fisher("decoder", "k", variant)
        assert not fisher[:, null].any() and (fisher[:, ~null] > 0).all()
    assert noise_share(probe.pre("decoder", "k"), probe.post("decoder", "k"), probe.meta.null_elements["k"]) == 0
    (alone,) = fit("gpt_neox", config(terms=("k",)))
    assert alone.meta.trained_parameters == 2 * 16  # two layers, half of 32 elements


def test_training_them_all_the_same_moves_them_by_noise() -> None:
    (probe,) = fit("gpt_neox", config(mode="all", train_null=True, epochs=8, precision="bfloat16"))
    null = mask_of(probe.meta.null_elements["k"], 32)
    pre, post = probe.pre("decoder", "k"), probe.post("decoder", "k")
    assert (post != pre)[:, null].all()
    share = np.abs(post - pre)[:, null].sum() / np.abs(post - pre).sum()
    assert noise_share(pre, post, probe.meta.null_elements["k"]) == pytest.approx(share)
    assert 0.1 < share < 0.9


def test_weight_decay_leaves_alone_what_a_run_of_a_bank_does_not_train() -> None:
    trained, alone = (
        fit("bert", *runs)[0]
        for runs in (
            (config(weight_decay=0.5), config(terms=("q",), seed=1)),
            (config(weight_decay=0.5),),
        )
    )
    np.testing.assert_allclose(trained.post("encoder", "v"), alone.post("encoder", "v"), atol=1e-5)


@pytest.mark.parametrize(
    ("config", "acting"),
    [
        ({"model_type": "gpt_neox", "rotary_pct": 0.25, "intermediate_size": 20}, 4),
        ({"model_type": "gpt_neox", "rope_parameters": {"partial_rotary_factor": 0.33}}, 6),  # int(5.28) in pairs
        ({"model_type": "gptj"}, None),  # 64 by default, more than the head has
        ({"model_type": "gptj", "rotary_dim": 8}, 8),
        ({"model_type": "gptj", "rotary_dim": None}, None),
        ({"model_type": "phi3"}, None),
        ({"model_type": "phi3", "partial_rotary_factor": 0.75}, 12),
        ({"model_type": "gpt_neox", "qk_layernorm": True}, None),  # a norm over the head mixes its elements
    ],
)
def test_acting_elements_follow_the_config(config: dict, acting: int | None) -> None:
    layout = layout_for({"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, **config})
    assert layout.key_rule.acting == acting
