"""Values scaled against W_o, queries against keys: the outputs of every architecture stay, or it is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import CONFIGS, inputs, tiny

from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel, biases
from beft_core.models.weight_scale import scale_weights

APART = {"deberta", "deberta-v2", "deberta-v2-c2p"}
"""Tiny models whose weights of q or of positions stand apart: they are refused."""
FLOAT32_INSIDE = dict.fromkeys(("bloom", "gptj", "modernbert", "modernbert-no-bias"), 1e-6)
"""Those that compute a softmax or positions in float32 whatever their precision."""
NORMALISED = dict.fromkeys(("qwen3", "qwen3-bias", "gemma3_text", "gemma3_text-bias"), 2e-5)
"""Those that normalise queries and keys, in float32: the norm takes any factor away, but not from its epsilon."""


def look(model: LoadedModel) -> torch.Tensor:
    with torch.no_grad():
        return model.backbone(**inputs(model)).last_hidden_state


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in APART])
def test_outputs_stay(name: str, dtype: torch.dtype) -> None:
    model = tiny(name, attn="sdpa", dtype=dtype)
    before, was = look(model), biases(model)
    rng = np.random.default_rng(0)
    layout = model.layout
    values = rng.uniform(0.2, 5, (layout.layers, layout.kv_heads * layout.head_dim))
    keys = rng.uniform(0.2, 5, (layout.layers, layout.kv_heads, 1)) * np.ones(layout.head_dim)
    if layout.key_rule.null:  # no positions in the logits: any diagonal is free
        keys = rng.uniform(0.2, 5, keys.shape)
    scale_weights(model, values, keys.reshape(values.shape))
    gap = float((look(model) - before).abs().max() / before.abs().max())
    assert gap < (
        (FLOAT32_INSIDE | NORMALISED).get(name, 1e-10) if dtype == torch.float64 else NORMALISED.get(name, 1e-5)
    )
    for (stack, term), bias in biases(model).items():
        factor = {"v": values, "k": keys.reshape(values.shape)}.get(term)
        if factor is not None:
            np.testing.assert_allclose(bias, was[stack, term] * factor, rtol=1e-5)
        elif term != "q":
            np.testing.assert_array_equal(bias, was[stack, term])


@pytest.mark.parametrize("name", sorted(APART))
def test_what_would_change_the_outputs_is_refused_and_undone(name: str) -> None:
    model = tiny(name)
    before = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    with pytest.raises(UserError, match=r"apart from its biases|outputs would change"):
        scale_weights(model, 10.0, 10.0)
    assert all(torch.equal(value, before[key]) for key, value in model.backbone.state_dict().items())


def test_wrong_factors() -> None:
    with pytest.raises(UserError, match="differ within a head"):
        scale_weights(tiny("llama"), 1.0, np.arange(1, 17))
    for wrong in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(UserError, match="not positive"):
            scale_weights(tiny("bert"), wrong)
    with pytest.raises(UserError, match="shape"):
        scale_weights(tiny("bert"), np.ones(3))
