"""How q, k and v lie in fused projections, and the names of biases on disk."""

from __future__ import annotations

import numpy as np

from beft_core.architectures.layout import contiguous, grouped
from beft_core.architectures.resolve import layout_for

BERT = {
    "model_type": "bert",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
}


def _fused(view: tuple[int, ...]) -> np.ndarray:
    return np.arange(np.prod(view)).reshape(view)


def test_fused_layouts_against_the_views_of_the_models() -> None:
    heads, width = 6, 5
    view = _fused((heads, 3, width))  # GPT-NeoX, BLOOM, Falcon without multi-query
    for i, term in enumerate("qkv"):
        np.testing.assert_array_equal(grouped(heads, heads, width)[term], view[:, i].ravel())
    view = _fused((heads + 2, width))  # Falcon with multi-query
    for term, rows in (("q", view[:-2]), ("k", view[-2]), ("v", view[-1])):
        np.testing.assert_array_equal(grouped(heads, 1, width)[term], rows.ravel())
    view = _fused((2, heads // 2 + 2, width))  # Falcon's new decoder with two key-value heads
    for term, rows in (("q", view[:, :-2]), ("k", view[:, -2]), ("v", view[:, -1])):
        np.testing.assert_array_equal(grouped(heads, 2, width)[term], rows.ravel())
    flat = _fused(((heads + 4) * width,))
    parts = [flat[contiguous(heads, 2, width)[term]] for term in "qkv"]
    np.testing.assert_array_equal(np.concatenate(parts), flat)
    assert [len(part) for part in parts] == [30, 10, 10]


def test_names_on_disk() -> None:
    layout = layout_for(BERT)
    names = layout.checkpoint_names(layout.slots_of("ln2")[0])
    assert names[0] == "bert.encoder.layer.0.output.LayerNorm.bias"
    assert {"encoder.layer.0.output.LayerNorm.bias", "bert.encoder.layer.0.output.LayerNorm.beta"} <= set(names)
    layout = layout_for({**BERT, "model_type": "vit"})
    old = {
        "q": "attention.attention.query",
        "k": "attention.attention.key",
        "v": "attention.attention.value",
        "o": "attention.output.dense",
        "mlp_in": "intermediate.dense",
        "mlp_out": "output.dense",
        "ln1": "layernorm_before",
        "ln2": "layernorm_after",
    }
    for term, path in old.items():
        assert f"vit.encoder.layer.1.{path}.bias" in layout.checkpoint_names(layout.slots_of(term)[1])
