"""Table of where the bias terms of each architecture live: one declarative row per model type.

:func:`beft_core.architectures.resolve.layout_for` turns a row and a model's ``config.json`` into a ``Layout``: for each
(layer, term) the module that holds the bias and which of its elements belong to the term. Fused projections (GPT-2,
Falcon, ...) hold q, k and v in one vector; a wrong slice there trains the wrong term in silence, so each row
has a numeric test on a small model of its class. Paths are those of transformers 5 and relative to the
backbone (``AutoModel``); ``Layout.checkpoint_names`` gives the names that safetensors files on disk use.
Needs numpy only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from beft_core.architectures.config_values import HIDDEN, LAYERS, MAX_LAYERS, Config, first_set, size
from beft_core.architectures.layout import Fused, HeadSpec, KeyRule, LmSpec, PostNorm, contiguous, grouped

ABSOLUTE = KeyRule(True, "softmax over keys: the key bias adds the same number to every logit of a row")
ALIBI = KeyRule(
    True, "softmax with ALiBi: position enters as a constant per key distance, so the key bias still cancels"
)
ROTARY = KeyRule(False, "rotary positions turn the key bias by an angle that differs from key to key")
QK_NORM = KeyRule(
    False,
    "keys are normalised after the bias was added: it counts more where a key is short, and rotary positions turn it",
)

NOT_PLAIN_SOFTMAX = (
    "attn_logit_softcapping",
    "attn_logit_softcap",
    "use_qk_norm",
    "qk_norm",
    "qk_layernorm",
    "query_key_norm",
    "attention_sink",
    "attention_sinks",
    "num_attention_sinks",
)
"""Keys of a configuration that, when set, break the cancellation of the key bias in any architecture."""


@dataclass(frozen=True)
class Flag:
    """Terms whose bias exists only if the config says so."""

    terms: str
    """Term keys, separated by spaces."""
    key: str | None = None
    """Key of the configuration that switches the biases on; ``None``: the terms never have a bias."""
    default: bool = False
    """Whether the terms have a bias where the configuration lacks the key."""


@dataclass(frozen=True)
class Row:
    """Description of one architecture. Everything that differs between architectures is here; ``layout_for`` has no
    branches on names.
    """

    model_type: str
    prefix: str
    """Prefix of the backbone's parameters in checkpoints with a head."""
    layer: str
    """Path of a layer, with ``{n}``."""
    modules: Mapping[str, str] | Callable[[Config], Mapping[str, str]]
    """Path of each term's module below the layer, optionally ``:attribute``. q, k and v with one path are fused."""
    head: HeadSpec | Callable[[Config], HeadSpec]
    stack: str = "encoder"
    flags: tuple[Flag, ...] = ()
    """Biases that not every model of the type has."""
    fused: Fused = contiguous
    """Arrangement of q, k and v in a fused projection."""
    kv_heads: Callable[[Config, int], int] = lambda config, heads: heads
    """Function from (config, heads) to the number of key and value heads."""
    head_dim: str = ""
    """Config key of a head's width, where it may differ from hidden_size / heads."""
    head_dim_default: int | None = None
    """Width of a head where the configuration does not say; None: hidden_size / heads."""
    output_size: str = ""
    """Config key of the width of the final hidden states, where it may differ from hidden_size."""
    mlp: str = "intermediate_size"
    """Config key of the MLP's width; 4 * hidden_size where it is not set."""
    mlp_fused: int = 1
    """Number of parts of the MLP's input projection: 2 where it holds gate and values in one bias, which is one term.
    """
    key: KeyRule | Callable[[Config, int], KeyRule] = ABSOLUTE
    """Rule of what can act of the key bias: one for every model of the type, or one from (config, width of a head)."""
    partial_rotary: bool = False
    """Whether positions may turn only some elements of each head."""
    head_dropout: tuple[str, ...] = ()
    """Config keys of the head's dropout; the first that is set counts."""
    packing: Callable[[Config], bool] = lambda config: True
    mask: str = "additive"
    """Field of :class:`~beft_core.architectures.layout.Layout`, like ``packing``, ``window``, ``position_offset``,
    ``disk``, ``block`` and ``inputs_first``.
    """
    window: Callable[[Config], int | None] = lambda config: None
    position_offset: Callable[[Config], int] = lambda config: 0
    shared: bool = False
    """Whether the model has a few distinct layers that are each used several times, as ALBERT does."""
    disk: tuple[tuple[str, str], ...] = ()
    block: PostNorm | None = None
    lm: LmSpec | Callable[[Config], LmSpec] | None = None
    """Language-model head, whose ``tied`` holds where the configuration does not say; None: the type has none."""
    inputs_first: bool = False
    reads_positions: Callable[[Config], tuple[str, ...]] = lambda config: ()
    """Terms of :attr:`~beft_core.architectures.layout.Layout.reads_positions`."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Reason, in words, why the architecture has no module for a term, by term, where the general reason is wrong."""


def _rotary(rotated: int, head_dim: int) -> KeyRule:
    """Rule for rotary positions that turn the first ``rotated`` elements of each head and leave the rest as it is."""
    if rotated <= 0:
        return ABSOLUTE
    if rotated >= head_dim:
        return ROTARY
    part = f"the first {rotated} of each head's {head_dim} elements"
    return KeyRule(False, f"{ROTARY.why}, but only in {part}: the others add the same number to every logit", rotated)


def _partial_rotary(config: Config, head_dim: int, name: str, default: float) -> KeyRule:
    rope: Mapping[str, Any] = config.get("rope_parameters") or {}
    fraction = float(rope.get("partial_rotary_factor", config.get(name, default)))
    # Elements are turned in pairs, so transformers rounds an odd number up.
    return _rotary(2 * math.ceil(int(head_dim * fraction) / 2), head_dim)


def _gptj_rotary(config: Config, head_dim: int) -> KeyRule:
    rotated = config.get("rotary_dim", 64)
    return _rotary(int(rotated), head_dim) if rotated else ROTARY


def _disentangled(config: Config, head_dim: int) -> KeyRule:
    kinds = config.get("pos_att_type") or []
    kinds = kinds.lower().split("|") if isinstance(kinds, str) else kinds
    if config.get("relative_attention", False) and "p2c" in [kind.strip() for kind in kinds]:
        return KeyRule(False, "position-to-content attention: the key bias meets a query that depends on the distance")
    return ABSOLUTE


def _falcon_kv(config: Config, heads: int) -> int:
    if config.get("new_decoder_architecture", False):
        return size(config, ("num_kv_heads", "n_head_kv"), default=heads)
    return 1 if config.get("multi_query", True) else heads


def _falcon_modules(config: Config) -> dict[str, str]:
    norms = {"ln1": "input_layernorm"}
    default_norms = 2 if config.get("new_decoder_architecture", False) else 1
    if not config.get("parallel_attn", True):
        norms = {"ln1": "input_layernorm", "ln2": "post_attention_layernorm"}
    elif first_set(config, ("num_ln_in_parallel_attn",), default=default_norms) == 2:
        norms = {"ln1": "ln_attn", "ln2": "ln_mlp"}
    return {**FUSED_DENSE, **norms}


BERT = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "o": "attention.output.dense",
    "mlp_in": "intermediate.dense",
    "mlp_out": "output.dense",
    "ln1": "attention.output.LayerNorm",
    "ln2": "output.LayerNorm",
}
BERT_BLOCK = PostNorm(
    "attention.self.dropout", "attention.output.dropout", "intermediate.intermediate_act_fn", "output.dropout"
)
FUSED_DENSE = {
    **dict.fromkeys("qkv", "self_attention.query_key_value"),
    "o": "self_attention.dense",
    "mlp_in": "mlp.dense_h_to_4h",
    "mlp_out": "mlp.dense_4h_to_h",
}
LLAMA = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "mlp_in": "mlp.gate_proj",
    "mlp_out": "mlp.down_proj",
}
RMS = dict.fromkeys(("ln1", "ln2"), "RMSNorm has no bias")

BERT_HEAD = HeadSpec("pooler", pooler_module="pooler.dense", pooler_activation="tanh")
LAST_TOKEN = HeadSpec("last", classifier_bias=False)
TIED, UNTIED = LmSpec(tied=True), LmSpec(tied=False)
BERT_DROPOUT = ("classifier_dropout", "hidden_dropout_prob")


def _modernbert_head(config: Config) -> HeadSpec:
    """Head of transformers' ``ModernBertPredictionHead`` with its classifier, drawn as ``ModernBertPreTrainedModel``
    does.
    """
    spread = float(first_set(config, ("initializer_range",), default=0.02))
    layers = size(config, LAYERS, most=MAX_LAYERS)
    return HeadSpec(
        {"cls": "first", "mean": "mean"}[first_set(config, ("classifier_pooling",), default="cls")],
        dense_activation=str(first_set(config, ("classifier_activation",), default="gelu")),
        dense_bias=bool(config.get("classifier_bias", False)),
        dense_dropout=False,
        norm_eps=float(first_set(config, ("norm_eps",), default=1e-5)),
        norm_bias=bool(config.get("norm_bias", False)),
        stds=(spread / math.sqrt(2 * layers), size(config, HIDDEN) ** -0.5),
        cutoff=float(first_set(config, ("initializer_cutoff_factor",), default=3.0)),
    )


def _group_kv(config: Config, heads: int) -> int:
    return size(config, ("num_key_value_heads",), default=heads)


def _looks_back(config: Config) -> bool:
    # An encoder made of a Gemma, which also sees later tokens, builds masks of its own.
    return not config.get("use_bidirectional_attention")


def _shared_with_positions(config: Config) -> tuple[str, ...]:
    """Terms whose projection DeBERTa v2 and v3 also apply to relative positions: v3 has no others for these."""
    return ("q", "k") if config.get("relative_attention") and config.get("share_att_key") else ()


def _conv_free(config: Config) -> bool:
    # DeBERTa-v2 XLarge convolves over neighbouring tokens, which belong to other examples in a packed row.
    return not config.get("conv_kernel_size")


ROWS: dict[str, Row] = {
    row.model_type: row
    for row in (
        Row("bert", "bert", "encoder.layer.{n}", BERT, BERT_HEAD, head_dropout=BERT_DROPOUT, block=BERT_BLOCK),
        Row(
            "roberta",
            "roberta",
            "encoder.layer.{n}",
            BERT,
            HeadSpec("first", dense_activation="tanh"),
            head_dropout=BERT_DROPOUT,
            block=BERT_BLOCK,
            position_offset=lambda config: first_set(config, ("pad_token_id",), default=1) + 1,
        ),
        Row(
            "electra",
            "electra",
            "encoder.layer.{n}",
            BERT,
            HeadSpec("first", dense_activation="gelu"),
            head_dropout=BERT_DROPOUT,
            block=BERT_BLOCK,
        ),
        Row(
            "distilbert",
            "distilbert",
            "transformer.layer.{n}",
            {
                "q": "attention.q_lin",
                "k": "attention.k_lin",
                "v": "attention.v_lin",
                "o": "attention.out_lin",
                "mlp_in": "ffn.lin1",
                "mlp_out": "ffn.lin2",
                "ln1": "sa_layer_norm",
                "ln2": "output_layer_norm",
            },
            HeadSpec("first", dense_activation="relu", dense_dropout=False, dropout=0.2),
            mlp="hidden_dim",
            head_dropout=("seq_classif_dropout",),
            block=PostNorm("attention.dropout", None, "ffn.activation", "ffn.dropout"),
        ),
        Row(
            "albert",
            "albert",
            "encoder.albert_layer_groups.{group}.albert_layers.{inner}",
            {
                "q": "attention.query",
                "k": "attention.key",
                "v": "attention.value",
                "o": "attention.dense",
                "mlp_in": "ffn",
                "mlp_out": "ffn_output",
                "ln1": "attention.LayerNorm",
                "ln2": "full_layer_layer_norm",
            },
            HeadSpec("pooler", pooler_module="pooler", pooler_activation="tanh", dropout=0.1),
            head_dropout=("classifier_dropout_prob",),
            shared=True,
        ),
        Row(
            "deberta-v2",
            "deberta",
            "encoder.layer.{n}",
            {**BERT, **{term: f"{BERT[term]}_proj" for term in "qkv"}},
            HeadSpec("first", dense_activation="gelu"),
            head_dropout=("cls_dropout", "hidden_dropout_prob"),
            head_dim="attention_head_size",
            key=_disentangled,
            packing=_conv_free,
            mask="boolean",
            reads_positions=_shared_with_positions,
        ),
        Row(
            "deberta",
            "deberta",
            "encoder.layer.{n}",
            {
                **{term: path for term, path in BERT.items() if term != "k"},
                "q": "attention.self:q_bias",
                "v": "attention.self:v_bias",
            },
            HeadSpec("first", dense_activation="gelu"),
            head_dropout=("cls_dropout", "hidden_dropout_prob"),
            key=_disentangled,
            mask="boolean",
            absent={"k": "DeBERTa v1 has bare q_bias and v_bias only"},
        ),
        Row(
            "opt",
            "model",
            "decoder.layers.{n}",
            {
                "q": "self_attn.q_proj",
                "k": "self_attn.k_proj",
                "v": "self_attn.v_proj",
                "o": "self_attn.out_proj",
                "mlp_in": "fc1",
                "mlp_out": "fc2",
                "ln1": "self_attn_layer_norm",
                "ln2": "final_layer_norm",
            },
            LAST_TOKEN,
            lm=TIED,
            stack="decoder",
            output_size="word_embed_proj_dim",
            mlp="ffn_dim",
            flags=(
                Flag("q k v o mlp_in mlp_out", "enable_bias", True),
                Flag("ln1 ln2", "layer_norm_elementwise_affine", True),
            ),
        ),
        Row(
            "gpt2",
            "transformer",
            "h.{n}",
            {
                **dict.fromkeys("qkv", "attn.c_attn"),
                "o": "attn.c_proj",
                "mlp_in": "mlp.c_fc",
                "mlp_out": "mlp.c_proj",
                "ln1": "ln_1",
                "ln2": "ln_2",
            },
            LAST_TOKEN,
            lm=TIED,
            mlp="n_inner",
            stack="decoder",
            inputs_first=True,
        ),
        Row(
            "gptj",
            "transformer",
            "h.{n}",
            {
                "q": "attn.q_proj",
                "k": "attn.k_proj",
                "v": "attn.v_proj",
                "o": "attn.out_proj",
                "mlp_in": "mlp.fc_in",
                "mlp_out": "mlp.fc_out",
                "ln1": "ln_1",
            },
            LAST_TOKEN,
            lm=LmSpec(tied=False, bias="lm_head.bias"),
            mlp="n_inner",
            stack="decoder",
            flags=(Flag("q k v o"),),
            key=_gptj_rotary,
            partial_rotary=True,
            absent={"ln2": "attention and MLP run in parallel after one LayerNorm"},
        ),
        Row(
            "gpt_neox",
            "gpt_neox",
            "layers.{n}",
            {
                **dict.fromkeys("qkv", "attention.query_key_value"),
                "o": "attention.dense",
                "mlp_in": "mlp.dense_h_to_4h",
                "mlp_out": "mlp.dense_4h_to_h",
                "ln1": "input_layernorm",
                "ln2": "post_attention_layernorm",
            },
            LAST_TOKEN,
            lm=LmSpec(tied=False, weight=("embed_out.weight", "lm_head.weight")),
            stack="decoder",
            flags=(Flag("q k v o", "attention_bias", True),),
            fused=grouped,
            key=partial(_partial_rotary, name="rotary_pct", default=0.25),
            partial_rotary=True,
        ),
        Row(
            "bloom",
            "transformer",
            "h.{n}",
            {**FUSED_DENSE, "ln1": "input_layernorm", "ln2": "post_attention_layernorm"},
            LAST_TOKEN,
            lm=TIED,
            mlp="",
            stack="decoder",
            fused=grouped,
            key=ALIBI,
        ),
        Row(
            "qwen2",
            "model",
            "layers.{n}",
            LLAMA,
            LAST_TOKEN,
            lm=UNTIED,
            stack="decoder",
            flags=(Flag("o mlp_in mlp_out"),),
            head_dim="head_dim",
            kv_heads=_group_kv,
            key=ROTARY,
            mask="per_layer_type",
            window=lambda config: config.get("sliding_window"),
            absent=RMS,
        ),
        Row(
            "llama",
            "model",
            "layers.{n}",
            LLAMA,
            LAST_TOKEN,
            lm=UNTIED,
            stack="decoder",
            flags=(Flag("q k v o", "attention_bias"), Flag("mlp_in mlp_out", "mlp_bias")),
            head_dim="head_dim",
            kv_heads=_group_kv,
            key=ROTARY,
            absent=RMS,
        ),
        Row(
            "mistral",
            "model",
            "layers.{n}",
            LLAMA,
            LAST_TOKEN,
            lm=UNTIED,
            stack="decoder",
            flags=(Flag("q k v o mlp_in mlp_out"),),
            head_dim="head_dim",
            kv_heads=_group_kv,
            key=ROTARY,
            window=lambda config: config.get("sliding_window"),
            absent=RMS,
        ),
        Row(
            "qwen3",
            "model",
            "layers.{n}",
            LLAMA,
            LAST_TOKEN,
            lm=UNTIED,
            stack="decoder",
            flags=(Flag("q k v o", "attention_bias"), Flag("mlp_in mlp_out")),
            head_dim="head_dim",
            head_dim_default=128,
            kv_heads=_group_kv,
            key=QK_NORM,
            mask="per_layer_type",
            window=lambda config: config.get("sliding_window"),
            absent=RMS,
        ),
        Row(
            "gemma",
            "model",
            "layers.{n}",
            LLAMA,
            LAST_TOKEN,
            lm=TIED,
            stack="decoder",
            flags=(Flag("q k v o", "attention_bias"), Flag("mlp_in mlp_out")),
            head_dim="head_dim",
            head_dim_default=256,
            kv_heads=_group_kv,
            key=ROTARY,
            packing=_looks_back,
            absent=RMS,
        ),
        Row(
            "gemma2",
            "model",
            "layers.{n}",
            LLAMA,
            LAST_TOKEN,
            lm=lambda config: LmSpec(tied=True, softcap=config.get("final_logit_softcapping", 30.0)),
            stack="decoder",
            flags=(Flag("q k v o", "attention_bias"), Flag("mlp_in mlp_out")),
            head_dim="head_dim",
            head_dim_default=256,
            kv_heads=_group_kv,
            key=ROTARY,
            packing=_looks_back,
            mask="per_layer_type",
            window=lambda config: config.get("sliding_window"),
            absent=RMS,
        ),
        Row(
            "gemma3_text",
            "model",
            "layers.{n}",
            LLAMA,
            LAST_TOKEN,
            lm=lambda config: LmSpec(tied=True, softcap=config.get("final_logit_softcapping")),
            stack="decoder",
            flags=(Flag("q k v o", "attention_bias"), Flag("mlp_in mlp_out")),
            head_dim="head_dim",
            head_dim_default=256,
            kv_heads=_group_kv,
            key=QK_NORM,
            packing=_looks_back,
            mask="per_layer_type",
            window=lambda config: config.get("sliding_window"),
            absent=RMS,
        ),
        Row(
            "falcon",
            "transformer",
            "h.{n}",
            _falcon_modules,
            LAST_TOKEN,
            lm=TIED,
            mlp="ffn_hidden_size",
            stack="decoder",
            flags=(Flag("q k v o mlp_in mlp_out", "bias"),),
            fused=grouped,
            kv_heads=_falcon_kv,
            key=lambda config, head_dim: ALIBI if config.get("alibi") else ROTARY,
            absent={"ln2": "attention and MLP run in parallel after one LayerNorm"},
        ),
        Row(
            "phi3",
            "model",
            "layers.{n}",
            {
                **dict.fromkeys("qkv", "self_attn.qkv_proj"),
                "o": "self_attn.o_proj",
                "mlp_in": "mlp.gate_up_proj",
                "mlp_out": "mlp.down_proj",
            },
            LAST_TOKEN,
            lm=UNTIED,
            stack="decoder",
            flags=(Flag("q k v o mlp_in mlp_out"),),
            kv_heads=_group_kv,
            head_dim="head_dim",
            mlp_fused=2,
            key=partial(_partial_rotary, name="partial_rotary_factor", default=1.0),
            partial_rotary=True,
            window=lambda config: config.get("sliding_window"),
            absent=RMS,
        ),
        Row(
            "modernbert",
            "model",
            "layers.{n}",
            {
                **dict.fromkeys("qkv", "attn.Wqkv"),
                "o": "attn.Wo",
                "mlp_in": "mlp.Wi",
                "mlp_out": "mlp.Wo",
                "ln2": "mlp_norm",
            },
            _modernbert_head,
            head_dropout=("classifier_dropout",),
            flags=(
                Flag("q k v o", "attention_bias"),
                Flag("mlp_in mlp_out", "mlp_bias"),
                Flag("ln2", "norm_bias"),
            ),
            mlp_fused=2,
            key=ROTARY,
            mask="per_layer_type",
            window=lambda config: first_set(config, ("local_attention",), default=128) // 2,
            absent={"ln1": "the first layer has no such LayerNorm"},
        ),
        Row(
            "vit",
            "vit",
            "layers.{n}",
            {
                "q": "attention.q_proj",
                "k": "attention.k_proj",
                "v": "attention.v_proj",
                "o": "attention.o_proj",
                "mlp_in": "mlp.fc1",
                "mlp_out": "mlp.fc2",
                "ln1": "layernorm_before",
                "ln2": "layernorm_after",
            },
            HeadSpec("first"),
            head_dim="head_dim",
            flags=(Flag("q k v", "qkv_bias", True),),
            packing=lambda config: False,
            disk=(
                ("layers.", "encoder.layer."),
                ("attention.q_proj", "attention.attention.query"),
                ("attention.k_proj", "attention.attention.key"),
                ("attention.v_proj", "attention.attention.value"),
                ("attention.o_proj", "attention.output.dense"),
                ("mlp.fc1", "intermediate.dense"),
                ("mlp.fc2", "output.dense"),
            ),
        ),
    )
}
"""Rows by model type."""


def rule_of_type(model_type: str) -> KeyRule | None:
    """Rule of what can act of the key bias in every model of a type, where its configuration makes no difference.

    None where it does (GPT-NeoX, Falcon, DeBERTa, ...), and for types without a row. Relative-key positions, which
    transformers 5 no longer has, are left aside.
    """
    row = ROWS.get(model_type)
    return row.key if row is not None and isinstance(row.key, KeyRule) else None
