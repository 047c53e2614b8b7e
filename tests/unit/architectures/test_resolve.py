"""Configurations resolved by their rows."""

from __future__ import annotations

import pytest

from beft_core.architectures.resolve import layout_for
from beft_core.architectures.table import ROWS
from beft_core.errors import UserError
from beft_core.terms import TERM_KEYS

BERT = {
    "model_type": "bert",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
}


GPT2 = {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2}


ALBERT = {
    **BERT,
    "model_type": "albert",
    "num_hidden_layers": 12,
    "num_hidden_groups": 2,
    "inner_group_num": 3,
}


LLAMA = {**BERT, "model_type": "llama", "num_key_value_heads": 1}


def test_bert_has_all_eight_terms_in_canonical_order() -> None:
    layout = layout_for(BERT)
    assert layout.terms == TERM_KEYS
    assert [(slot.term, slot.layer) for slot in layout.slots] == [(t, n) for t in TERM_KEYS for n in range(2)]
    assert [slot.width for slot in layout.slots if slot.layer == 0] == [8, 8, 8, 8, 20, 8, 8, 8]
    assert layout.slots_of("v")[1].parameter == "encoder.layer.1.attention.self.value.bias"
    assert (layout.null_terms, layout.causal, layout.packing) == (("k",), False, True)


def test_widths_come_from_the_keys_that_the_architecture_reads() -> None:
    layout = layout_for({**GPT2, "n_inner": None, "intermediate_size": 99})
    assert layout.slots_of("mlp_in")[0].width == 32
    assert layout_for({**BERT, "head_dim": 99}).slots_of("q")[0].width == 8
    layout = layout_for({**LLAMA, "attention_bias": True, "head_dim": 16})
    assert [layout.slots_of(term)[0].width for term in ("q", "k", "v", "o")] == [32, 16, 16, 8]


def test_only_opt_projects_its_final_states() -> None:
    opt = {"model_type": "opt", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 20}
    assert layout_for({**opt, "word_embed_proj_dim": 4}).output_size == 4
    assert layout_for(opt).output_size == layout_for({**LLAMA, "word_embed_proj_dim": 4}).output_size == 8


def test_albert_counts_distinct_layers() -> None:
    layout = layout_for(ALBERT)
    assert layout.layers == 6
    assert layout.slots_of("o")[4].module == "encoder.albert_layer_groups.1.albert_layers.1.attention.dense"


def test_absent_terms_say_why_and_can_be_added_where_there_is_a_module() -> None:
    layout = layout_for(LLAMA)
    assert layout.terms == ()
    assert layout.absent["v"] == "attention_bias is off"
    assert layout.absent["ln1"] == "RMSNorm has no bias"
    with pytest.raises(UserError, match="--add-bias v"):
        layout.require(["v"])
    added = layout.with_added(["v", "v"])
    assert (added.terms, added.added) == (("v",), ("v",))
    assert added.with_added(["v"]).added == ("v",)
    with pytest.raises(UserError, match="RMSNorm"):
        layout.with_added(["ln1"])
    with pytest.raises(UserError, match="q, k, v"):
        layout_for(BERT).require(["b_v"])


@pytest.mark.parametrize(
    ("config", "null"),
    [
        (BERT, True),
        ({**BERT, "position_embedding_type": "absolute"}, True),
        ({**BERT, "position_embedding_type": "relative_key_query"}, False),
        ({**BERT, "use_qk_norm": True}, False),
        ({**BERT, "attn_logit_softcapping": 50.0}, False),
        ({**BERT, "model_type": "falcon"}, False),
        ({**BERT, "model_type": "falcon", "alibi": True}, True),
        ({**BERT, "model_type": "gpt_neox"}, False),
        ({**BERT, "model_type": "gpt_neox", "rotary_pct": 0.0}, True),
        ({**BERT, "model_type": "gpt_neox", "rope_parameters": {"partial_rotary_factor": 0.0}}, True),
        ({**BERT, "model_type": "deberta-v2"}, True),
        ({**BERT, "model_type": "deberta-v2", "relative_attention": True, "pos_att_type": ["c2p"]}, True),
        ({**BERT, "model_type": "deberta-v2", "relative_attention": True, "pos_att_type": "p2c|c2p"}, False),
    ],
)
def test_key_rule_follows_the_config(config: dict, null: bool) -> None:
    rule = layout_for(config).key_rule
    assert rule.null == null and rule.why


def test_partial_rotary_says_that_only_some_dimensions_act() -> None:
    layout = layout_for({**BERT, "model_type": "gpt_neox", "rotary_pct": 0.5})
    assert "the first 2 of each head's 4 elements" in layout.key_rule.why
    assert layout.null_elements("k").tolist() == [False, False, True, True] * 2
    assert not layout.null_elements("q").any() and layout_for(BERT).null_elements("k").all()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (BERT, ("pooler", "pooler.dense", "tanh", None, True, 0.0)),
        (
            {**BERT, "hidden_dropout_prob": 0.1, "classifier_dropout": 0.3},
            ("pooler", "pooler.dense", "tanh", None, True, 0.3),
        ),
        ({**BERT, "model_type": "roberta", "hidden_dropout_prob": 0.1}, ("first", None, None, "tanh", True, 0.1)),
        ({**BERT, "model_type": "electra"}, ("first", None, None, "gelu", True, 0.0)),
        ({"model_type": "distilbert", "dim": 8, "n_layers": 1, "n_heads": 2}, ("first", None, None, "relu", True, 0.2)),
        (GPT2, ("last", None, None, None, False, 0.0)),
        (
            {**BERT, "model_type": "modernbert", "classifier_pooling": "mean", "classifier_activation": "silu"},
            ("mean", None, None, "silu", True, 0.0),
        ),
    ],
)
def test_heads(config: dict, expected: tuple) -> None:
    head = layout_for(config).head
    assert (
        head.pooling,
        head.pooler_module,
        head.pooler_activation,
        head.dense_activation,
        head.classifier_bias,
        head.dropout,
    ) == expected


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "brt"}, "a model of type bert"),
        ({}, "'None'"),
        ({**BERT, "hidden_size": None}, "without hidden_size"),
        ({**BERT, "num_attention_heads": 0}, "num_attention_heads = 0"),
        ({**BERT, "num_hidden_layers": "six"}, "num_hidden_layers = 'six'"),
        ({**BERT, "num_hidden_layers": 10**12}, "from 1 to"),
        ({**BERT, "num_hidden_layers": 150_000}, "from 1 to 2000"),
        ({**BERT, "hidden_dropout_prob": "x"}, "wrong type"),
        ({**BERT, "model_type": "deberta-v2", "relative_attention": True, "pos_att_type": 7}, "wrong type"),
        ({**BERT, "model_type": "gpt_neox", "rope_parameters": [1]}, "wrong type"),
        ({**BERT, "model_type": "roberta", "pad_token_id": "1"}, "wrong type"),
        ({**BERT, "model_type": "modernbert", "local_attention": "wide"}, "wrong type"),
    ],
)
def test_wrong_configs(config: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        layout_for(config)


def test_unknown_types_list_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"deberta-v2.*qwen2"):
        layout_for({"model_type": "t5"})
    assert len(ROWS) == 23
