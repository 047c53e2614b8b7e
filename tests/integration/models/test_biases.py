"""Biases of a model read, written, restored and added."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import CONFIGS, inputs, tiny

from beft_core.errors import UserError
from beft_core.models.biases import add_zero_bias, biases, require_terms, restored, write_biases
from beft_core.models.null_certificate import null_terms
from beft_core.snapshots.snapshot import fingerprint


def test_write_biases_puts_back_exactly_what_it_is_given() -> None:
    model = tiny("gpt2", dtype=torch.float32)
    before = biases(model)
    changed = {key: value + 1 for key, value in before.items() if key[1] in ("q", "ln2")}
    write_biases(model, changed)
    for key, value in biases(model).items():
        np.testing.assert_array_equal(value, changed.get(key, before[key]))
    write_biases(model, before)
    assert fingerprint(biases(model)) == model.info.fingerprint


def test_biases_are_as_before_after_a_block_that_overwrote_them_and_failed() -> None:
    model = tiny("gpt2", dtype=torch.float32)
    before = {name: parameter.clone() for name, parameter in model.backbone.named_parameters()}
    with pytest.raises(RuntimeError, match="half way"), restored(model):
        write_biases(model, {key: value + 1 for key, value in biases(model).items()})
        raise RuntimeError("half way")
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.backbone.named_parameters())


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        (("encoder", "v"), (3, 32), r"shape \(2, 32\)"),
        (("decoder", "v"), (2, 32), "encoder.v"),
        (("encoder", "x"), (2, 32), "the term x"),
    ],
)
def test_write_biases_refuses_what_does_not_fit_and_writes_nothing(key: tuple, shape: tuple, message: str) -> None:
    model = tiny("bert")
    before = fingerprint(biases(model))
    with pytest.raises(UserError, match=message):
        write_biases(model, {("encoder", "q"): np.ones((2, 32), np.float32), key: np.ones(shape, np.float32)})
    assert fingerprint(biases(model)) == before


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
@pytest.mark.parametrize("name", CONFIGS)
def test_added_zero_biases_leave_every_bit_of_the_output(name: str, attn: str) -> None:
    model = tiny(name, attn=attn, dtype=torch.float32)
    addable = list(dict.fromkeys(slot.term for slot in model.layout.addable))
    with torch.no_grad():
        before = model.backbone(**inputs(model)).last_hidden_state
        for term in addable:
            add_zero_bias(model, term)
            assert not biases(model)[model.layout.stack, term].any()
        after = model.backbone(**inputs(model)).last_hidden_state
    assert torch.equal(before, after)
    require_terms(model, addable)
    assert model.layout.added == tuple(addable) and not model.layout.addable


def test_adding_a_bias_that_exists_or_cannot() -> None:
    model = tiny("qwen2")
    before = biases(model)
    add_zero_bias(model, "v")
    np.testing.assert_array_equal(biases(model)["decoder", "v"], before["decoder", "v"])
    with pytest.raises(UserError, match="RMSNorm"):
        add_zero_bias(model, "ln1")


def test_a_model_without_any_bias_has_a_fingerprint_too() -> None:
    model = tiny("phi3")
    assert biases(model) == {} and len(model.info.fingerprint) == 64
    assert null_terms(model) == ()
