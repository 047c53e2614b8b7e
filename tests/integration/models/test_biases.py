"""Biases of a model read, written, restored and added."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from example_decoder import write_decoder
from tiny_models import CONFIGS, inputs, tiny
from transformers import AutoModelForCausalLM

from beft_core.architectures.resolve import layout_for
from beft_core.errors import UserError
from beft_core.exchange.checkpoints import model_info
from beft_core.models.bias_reader import ModelWeights
from beft_core.models.biases import add_zero_bias, biases, require_terms, restored, weights_of, write_biases
from beft_core.models.load import load_model
from beft_core.models.null_certificate import null_terms
from beft_core.models.placement import Placement
from beft_core.snapshots.meta import NO_BIASES
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


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16])
def test_a_model_without_biases_has_one_name_in_its_files_and_in_memory(tmp_path: Path, stored: torch.dtype) -> None:
    folder = write_decoder(tmp_path / "m")
    AutoModelForCausalLM.from_pretrained(folder, dtype=stored).save_pretrained(folder)
    on_disk = ModelWeights(folder)
    layout = on_disk.layout()
    assert layout is not None and not layout.terms
    name = on_disk.weights_fingerprint(layout)
    for placement in (None, Placement(torch.device("cpu"), bfloat16=True), Placement(torch.device("cpu"))):
        info = load_model(str(folder), placement=placement).info
        assert name is not None and (info.fingerprint, info.weights) == (NO_BIASES, name)
    assert model_info(on_disk, layout, {}).weights == name


def test_what_a_model_without_biases_became_has_another_name(tmp_path: Path) -> None:
    model = load_model(str(write_decoder(tmp_path / "m")))
    own = model.info.weights
    add_zero_bias(model, "v")
    assert weights_of(model.backbone, layout_for(model.config)) == own  # an added bias changes no weight
    assert load_model(str(write_decoder(tmp_path / "other", seed=1))).info.weights != own
    projection = model.backbone.layers[1].self_attn.v_proj
    with torch.no_grad():  # what an adapter of rank 1 adds once it is merged
        projection.weight += 0.02 * torch.outer(torch.randn(16), torch.randn(32))
    assert weights_of(model.backbone, layout_for(model.config)) not in (own, None)


def test_weights_that_cannot_be_compared_have_no_name(tmp_path: Path) -> None:
    model = load_model(str(write_decoder(tmp_path / "m")))
    assert weights_of(model.backbone, model.layout) is not None
    assert weights_of(copy.deepcopy(model.backbone).half(), model.layout) is None
    assert weights_of(copy.deepcopy(model.backbone).to("meta"), model.layout) is None
    bert = tiny("bert", dtype=torch.float32)
    assert bert.info.weights is None and weights_of(bert.backbone, bert.layout) is None
