"""Where the bias terms of each architecture live: one declarative row per model type.

``layout_for(config)`` turns a row and a model's ``config.json`` into a :class:`Layout`: for every (layer,
term) the module that holds the bias and which of its elements belong to the term. Fused projections (GPT-2,
Falcon, ...) hold q, k and v in one vector; a wrong slice there trains the wrong term in silence, so each row
has a numeric test on a small model of its class. Paths are those of transformers 5 and relative to the
backbone (``AutoModel``); ``Layout.checkpoint_names`` gives the names that safetensors files on disk use.
Needs numpy only.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from beft_core.architectures.layout import BiasSlot, Fused, HeadSpec, KeyRule, Layout, PostNorm, contiguous, grouped
from beft_core.errors import UserError
from beft_core.terms import TERM_KEYS

__all__ = ["ROWS", "BiasSlot", "HeadSpec", "KeyRule", "Layout", "layout_for"]

Config = Mapping[str, Any]
"""A model's ``config.json``, or ``PretrainedConfig.to_dict()``."""


ABSOLUTE = KeyRule(True, "softmax over keys: the key bias adds the same number to every logit of a row")
ALIBI = KeyRule(
    True, "softmax with ALiBi: position enters as a constant per key distance, so the key bias still cancels"
)
ROTARY = KeyRule(False, "rotary positions turn the key bias by an angle that differs from key to key")

HIDDEN = ("hidden_size", "n_embd", "n_embed", "dim", "d_model")
HEADS = ("num_attention_heads", "n_head", "n_heads")
LAYERS = ("num_hidden_layers", "n_layer", "n_layers")

LARGEST = 200_000
"""No model has a size above this; a hostile config must not make this module allocate."""
MOST_LAYERS = 2000
"""Nor has one more layers: a slot is made for each."""

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
"""Config keys that, when set, break the cancellation of the key bias in any architecture."""


@dataclass(frozen=True)
class Flag:
    """Terms whose bias exists only if the config says so."""

    terms: str
    """Term keys, separated by spaces."""
    key: str | None = None
    """Config key that switches them on; ``None``: they never have a bias."""
    default: bool = False
    """What holds if the config does not have the key."""


@dataclass(frozen=True)
class Row:
    """One architecture. Everything that differs between architectures is here; ``layout_for`` has no
    branches on names.
    """

    model_type: str
    prefix: str
    """Prefix of the backbone's parameters in checkpoints with a head."""
    layer: str
    """Path of a layer, with ``{n}``."""
    modules: Mapping[str, str] | Callable[[Config], Mapping[str, str]]
    """Term -> path below the layer, optionally ``:attribute``. q, k and v with one path are fused."""
    head: HeadSpec | Callable[[Config], HeadSpec]
    stack: str = "encoder"
    flags: tuple[Flag, ...] = ()
    """Biases that not every model of the type has."""
    fused: Fused = contiguous
    """How q, k and v lie in a fused projection."""
    kv_heads: Callable[[Config, int], int] = lambda config, heads: heads
    """(config, heads) -> key and value heads."""
    head_dim: str = ""
    """Config key of a head's width, where it may differ from hidden_size / heads."""
    mlp: str = "intermediate_size"
    """Config key of the MLP's width; 4 * hidden_size where it is not set."""
    mlp_fused: int = 1
    """2: the MLP's input projection holds gate and values in one bias, which is one term."""
    key: KeyRule | Callable[[Config, int], KeyRule] = ABSOLUTE
    """What of the key bias can act: one rule for every model of the type, or one from (config, width of a head)."""
    partial_rotary: bool = False
    """Whether positions may turn only some elements of each head."""
    head_dropout: tuple[str, ...] = ()
    """Config keys of the head's dropout; the first that is set counts."""
    packing: Callable[[Config], bool] = lambda config: True
    mask: str = "additive"
    """As in :class:`~beft_core.architectures.layout.Layout`, like ``packing``, ``window``, ``position_offset``,
    ``disk`` and ``block``.
    """
    window: Callable[[Config], int | None] = lambda config: None
    position_offset: Callable[[Config], int] = lambda config: 0
    shared: bool = False
    """ALBERT: a few distinct layers, each used several times."""
    disk: tuple[tuple[str, str], ...] = ()
    block: PostNorm | None = None
    absent: Mapping[str, str] = field(default_factory=dict)
    """Term -> why the architecture has no module for it, where the general reason is wrong."""


def _rotary(rotated: int, head_dim: int) -> KeyRule:
    """Rotary positions that turn the first ``rotated`` elements of each head and leave the rest as it is."""
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
        return _size(config, ("num_kv_heads", "n_head_kv"), default=heads)
    return 1 if config.get("multi_query", True) else heads


def _falcon_modules(config: Config) -> dict[str, str]:
    norms = {"ln1": "input_layernorm"}
    default_norms = 2 if config.get("new_decoder_architecture", False) else 1
    if not config.get("parallel_attn", True):
        norms = {"ln1": "input_layernorm", "ln2": "post_attention_layernorm"}
    elif _get(config, ("num_ln_in_parallel_attn",), default=default_norms) == 2:
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
BERT_DROPOUT = ("classifier_dropout", "hidden_dropout_prob")


def _modernbert_head(config: Config) -> HeadSpec:
    """transformers' ``ModernBertPredictionHead`` with its classifier, drawn as ``ModernBertPreTrainedModel`` does."""
    spread = float(_get(config, ("initializer_range",), default=0.02))
    layers = _size(config, LAYERS, most=MOST_LAYERS)
    return HeadSpec(
        {"cls": "first", "mean": "mean"}[_get(config, ("classifier_pooling",), default="cls")],
        dense_activation=str(_get(config, ("classifier_activation",), default="gelu")),
        dense_bias=bool(config.get("classifier_bias", False)),
        dense_dropout=False,
        norm_eps=float(_get(config, ("norm_eps",), default=1e-5)),
        norm_bias=bool(config.get("norm_bias", False)),
        stds=(spread / math.sqrt(2 * layers), _size(config, HIDDEN) ** -0.5),
        cutoff=float(_get(config, ("initializer_cutoff_factor",), default=3.0)),
    )


def _group_kv(config: Config, heads: int) -> int:
    return _size(config, ("num_key_value_heads",), default=heads)


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
            position_offset=lambda config: _get(config, ("pad_token_id",), default=1) + 1,
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
            stack="decoder",
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
            mlp="n_inner",
            stack="decoder",
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
            mlp="",
            stack="decoder",
            fused=grouped,
            key=ALIBI,
            # BLOOM derives its ALiBi slopes from the two-dimensional padding mask and takes no prepared mask.
            packing=lambda config: False,
        ),
        Row(
            "qwen2",
            "model",
            "layers.{n}",
            LLAMA,
            LAST_TOKEN,
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
            stack="decoder",
            flags=(Flag("q k v o", "attention_bias"), Flag("mlp_in mlp_out", "mlp_bias")),
            head_dim="head_dim",
            kv_heads=_group_kv,
            key=ROTARY,
            absent=RMS,
        ),
        Row(
            "falcon",
            "transformer",
            "h.{n}",
            _falcon_modules,
            LAST_TOKEN,
            mlp="ffn_hidden_size",
            stack="decoder",
            flags=(Flag("q k v o mlp_in mlp_out", "bias"),),
            fused=grouped,
            kv_heads=_falcon_kv,
            key=lambda config, head_dim: ALIBI if config.get("alibi") else ROTARY,
            packing=lambda config: not config.get("alibi"),
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
            window=lambda config: _get(config, ("local_attention",), default=128) // 2,
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
"""Model type -> row."""


def layout_for(config: Config | Any) -> Layout:
    """Where the bias terms of a model are, from its ``config.json`` (a mapping, or anything with
    ``to_dict()``).

    Raises UserError for model types without a row and for configs that lack a size.
    """
    config = config if isinstance(config, Mapping) else config.to_dict()
    model_type = str(config.get("model_type"))
    if model_type not in ROWS:
        close = difflib.get_close_matches(model_type, ROWS, n=1)
        raise UserError(
            f"got the model type {model_type!r}",
            f"one of {', '.join(sorted(ROWS))}",
            f"a model of type {close[0]}" if close else "",
        )
    try:
        return _layout(ROWS[model_type], config)
    except UserError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise UserError(
            f"got a {model_type} config with a value of the wrong type ({error})", "a config.json of transformers"
        ) from error


def _layout(row: Row, config: Config) -> Layout:
    hidden, heads = _size(config, HIDDEN), _size(config, HEADS)
    head_dim = _size(config, (row.head_dim,), default=hidden // heads)
    kv_heads = row.kv_heads(config, heads)
    widths = dict.fromkeys(TERM_KEYS, hidden) | {
        "q": heads * head_dim,
        "k": kv_heads * head_dim,
        "v": kv_heads * head_dim,
        "mlp_in": row.mlp_fused * _size(config, (row.mlp,), default=4 * hidden),
    }
    modules = row.modules(config) if callable(row.modules) else row.modules
    fused = row.fused(heads, kv_heads, head_dim) if modules["q"] == modules["v"] else {}
    paths = _layer_paths(row, config)
    off = {
        term: f"{flag.key} is off" if flag.key else "its projection has no bias"
        for flag in row.flags
        for term in flag.terms.split()
        if not (flag.key and _get(config, (flag.key,), default=flag.default))
    }

    def slots(terms: Iterable[str]) -> tuple[BiasSlot, ...]:
        return tuple(
            BiasSlot(
                row.stack,
                n,
                term,
                f"{path}.{module}",
                fused.get(term, slice(0, widths[term])),
                widths[term],
                attribute or "bias",
            )
            for term in terms
            for module, _, attribute in [modules[term].partition(":")]
            for n, path in enumerate(paths)
        )

    here = [term for term in TERM_KEYS if term in modules]
    return Layout(
        model_type=row.model_type,
        stack=row.stack,
        layers=len(paths),
        hidden_size=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        slots=slots(term for term in here if term not in off),
        addable=slots(term for term in here if term in off),
        absent={t: off.get(t) or row.absent[t] for t in TERM_KEYS if t in off or t not in modules},
        key_rule=_key_rule(row, config, head_dim),
        head=_head(row, config),
        packing=row.packing(config),
        causal=row.stack == "decoder" or bool(config.get("is_decoder")),
        mask=row.mask,
        window=row.window(config),
        position_offset=row.position_offset(config),
        prefix=row.prefix,
        disk=row.disk,
        block=row.block,
    )


def rule_of_type(model_type: str) -> KeyRule | None:
    """What of the key bias can act in every model of a type, where its configuration makes no difference.

    None where it does (GPT-NeoX, Falcon, DeBERTa, ...), and for types without a row. Relative-key positions, which
    transformers 5 no longer has, are left aside.
    """
    row = ROWS.get(model_type)
    return row.key if row is not None and isinstance(row.key, KeyRule) else None


def _get(config: Config, names: Iterable[str], default: Any = None) -> Any:
    """The first of ``names`` that is set. Raises UserError if none is and there is no default."""
    names = tuple(names)
    for name in names:
        if config.get(name) is not None:
            return config[name]
    if default is None:
        raise UserError(f"got a {config.get('model_type')} config without {names[0]}", f"a number under {names[0]}")
    return default


def _size(config: Config, names: Iterable[str], default: int | None = None, most: int = LARGEST) -> int:
    """``_get`` for a positive whole number; a config file may hold anything."""
    names = tuple(names)
    value = _get(config, names, default)
    if type(value) is not int or not 1 <= value <= most:
        raise UserError(f"got {names[0]} = {value!r} in the config", f"a whole number from 1 to {most}")
    return value


def _layer_paths(row: Row, config: Config) -> list[str]:
    if not row.shared:
        return [row.layer.format(n=n) for n in range(_size(config, LAYERS, most=MOST_LAYERS))]
    groups = _size(config, ("num_hidden_groups",), default=1)
    inner = _size(config, ("inner_group_num",), default=1)
    _size(
        {"num_hidden_groups * inner_group_num": groups * inner},
        ("num_hidden_groups * inner_group_num",),
        most=MOST_LAYERS,
    )
    return [row.layer.format(group=g, inner=i) for g in range(groups) for i in range(inner)]


def _key_rule(row: Row, config: Config, head_dim: int) -> KeyRule:
    if str(config.get("position_embedding_type", "")).startswith("relative_key"):
        return KeyRule(False, "relative-key positions: the key bias meets position vectors that differ from key to key")
    broken = [name for name in NOT_PLAIN_SOFTMAX if config.get(name)]
    if broken:
        return KeyRule(False, f"{broken[0]} breaks the plain softmax")
    return row.key if isinstance(row.key, KeyRule) else row.key(config, head_dim)


def _head(row: Row, config: Config) -> HeadSpec:
    head = row.head(config) if callable(row.head) else row.head
    return dataclasses.replace(head, dropout=float(_get(config, row.head_dropout, default=head.dropout)))
