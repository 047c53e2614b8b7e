"""A change of the value bias, folded into the output bias, gives the same hidden states everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import CONFIGS, inputs, tiny

from beft_core.errors import UserError
from beft_core.models.bias_reader import ModelWeights
from beft_core.models.biases import LoadedModel, add_zero_bias, biases
from beft_core.models.folding import fold_error, fold_value_bias, folded_change
from beft_core.models.load import load_model

FLOAT32_INSIDE = {"deberta": 1e-6, "bloom": 1e-6, "gptj": 1e-6, "gemma2": 1e-6}
"""Architectures that compute a LayerNorm or a softmax in float32 even where the model is float64."""


def _change(model: LoadedModel) -> np.ndarray:
    shape = (model.layout.layers, model.layout.kv_heads * model.layout.head_dim)
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", CONFIGS)
def test_folding_is_exact(name: str, dtype: torch.dtype) -> None:
    model = tiny(name, attn="sdpa", dtype=dtype)
    for term in ("v", "o"):
        add_zero_bias(model, term)
    before = biases(model)
    limit = FLOAT32_INSIDE.get(name, 1e-10) if dtype == torch.float64 else 1e-5
    assert fold_error(model, _change(model), inputs(model)) < limit
    assert all(np.array_equal(value, before[key]) for key, value in biases(model).items())


def test_folding_a_change_back_restores_the_output_bias() -> None:
    model = tiny("llama-bias")
    before = biases(model)["decoder", "o"]
    fold_value_bias(model, _change(model))
    assert not np.allclose(biases(model)["decoder", "o"], before)
    fold_value_bias(model, -_change(model))
    np.testing.assert_allclose(biases(model)["decoder", "o"], before, atol=1e-6)


def test_folded_change_is_the_output_matrix_times_the_change() -> None:
    """Independent computation, with the heads repeated by hand: a Conv1D, and grouped queries."""
    model = tiny("gpt2")
    change = _change(model)
    expected = change[1] @ model.backbone.get_parameter("h.1.attn.c_proj.weight").detach().numpy()
    np.testing.assert_allclose(folded_change(model, change)[1], expected, rtol=1e-12)

    model = tiny("falcon-grouped")  # 4 query heads, 2 value heads of 8
    change = _change(model)
    heads = np.concatenate([change[0, :8], change[0, :8], change[0, 8:], change[0, 8:]])
    expected = model.backbone.get_parameter("h.0.self_attention.dense.weight").detach().numpy() @ heads
    np.testing.assert_allclose(folded_change(model, change)[0], expected, rtol=1e-12)


def test_bundled_model() -> None:
    model = load_model()
    tokens = model.tokenizer(["a constant in the residual stream"], return_tensors="pt")
    assert fold_error(model, 0.3 * _change(model), dict(tokens)) < 1e-5


def test_errors() -> None:
    with pytest.raises(UserError, match="the term o"):
        fold_value_bias(tiny("qwen2"), np.zeros((2, 16)))
    with pytest.raises(UserError, match=r"\(2, 16\)"):
        fold_value_bias(tiny("llama-bias"), np.zeros((2, 16)))


@pytest.mark.parametrize("name", ["bert", "gpt2", "falcon-grouped", "llama-bias", "vit"])
def test_the_files_give_the_same_without_torch(name: str, tmp_path: Path) -> None:
    """`ModelWeights.output_change` reads the output matrices: transposed ones, and value heads that several share."""
    model = tiny(name)
    model.backbone.save_pretrained(tmp_path / "model")
    weights = ModelWeights(tmp_path / "model")
    layout = weights.layout()
    assert layout is not None
    change = _change(model)
    np.testing.assert_allclose(weights.output_change(layout, change), folded_change(model, change), rtol=1e-9)
    with pytest.raises(UserError, match="shape"):
        weights.output_change(layout, change[:, 1:])
