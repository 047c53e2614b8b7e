"""Which modules a method wraps, by the terms of their biases."""

from __future__ import annotations

import pytest

from beft_core.architectures.resolve import layout_for
from beft_core.architectures.targets import target_slots
from beft_core.errors import UserError

BERT = {
    "model_type": "bert",
    "hidden_size": 8,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
GPT2 = {"model_type": "gpt2", "n_embd": 8, "n_layer": 2, "n_head": 2}
LLAMA = {**BERT, "model_type": "llama", "num_key_value_heads": 1}


def test_modules_come_in_the_order_of_layers() -> None:
    found = target_slots(layout_for(BERT), ("v", "q"))
    assert [(one.layer, one.term) for one in found] == [(0, "q"), (0, "v"), (1, "q"), (1, "v"), (2, "q"), (2, "v")]
    assert [one.layer for one in target_slots(layout_for(BERT), ("v",), (0, 2))] == [0, 2]


def test_a_module_without_a_bias_can_be_wrapped() -> None:
    assert [one.module for one in target_slots(layout_for(LLAMA), ("v",), (1,))] == ["layers.1.self_attn.v_proj"]


def test_one_matrix_is_wrapped_once_and_as_a_whole() -> None:
    assert [one.module for one in target_slots(layout_for(GPT2), ("q", "k", "v"))] == [
        "h.0.attn.c_attn",
        "h.1.attn.c_attn",
    ]
    with pytest.raises(UserError, match=r"q k v are one matrix.*--targets q k v"):
        target_slots(layout_for(GPT2), ("q", "v"))


def test_what_there_is_not_is_named() -> None:
    with pytest.raises(UserError, match=r"has no ln1 to wrap .*expected a model with LayerNorms"):
        target_slots(layout_for(LLAMA), ("ln1",))
    with pytest.raises(UserError, match="got layer 3; expected 0 to 2"):
        target_slots(layout_for(BERT), ("v",), (3,))
