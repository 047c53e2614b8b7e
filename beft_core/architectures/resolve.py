"""Resolution of a model's configuration by its row: ``layout_for(config)`` says where every bias term is."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from beft_core.architectures.config_values import HEADS, HIDDEN, LAYERS, MAX_LAYERS, Config, first_set, size
from beft_core.architectures.layout import BiasSlot, HeadSpec, KeyRule, Layout, LmSpec
from beft_core.architectures.table import NOT_PLAIN_SOFTMAX, ROWS, Row
from beft_core.errors import UserError
from beft_core.terms import TERM_KEYS


def layout_for(config: Config | Any) -> Layout:
    """Find where the bias terms of a model are, from its ``config.json`` (a mapping, or anything with ``to_dict()``).

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
    hidden, heads = size(config, HIDDEN), size(config, HEADS)
    head_dim = size(config, (row.head_dim,), default=row.head_dim_default or hidden // heads)
    kv_heads = row.kv_heads(config, heads)
    widths = dict.fromkeys(TERM_KEYS, hidden) | {
        "q": heads * head_dim,
        "k": kv_heads * head_dim,
        "v": kv_heads * head_dim,
        "mlp_in": row.mlp_fused * size(config, (row.mlp,), default=4 * hidden),
    }
    modules = row.modules(config) if callable(row.modules) else row.modules
    fused = row.fused(heads, kv_heads, head_dim) if modules["q"] == modules["v"] else {}
    paths = _layer_paths(row, config)
    off = {
        term: f"{flag.key} is off" if flag.key else "its projection has no bias"
        for flag in row.flags
        for term in flag.terms.split()
        if not (flag.key and first_set(config, (flag.key,), default=flag.default))
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
        output_size=size(config, (row.output_size,), default=hidden),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        slots=slots(term for term in here if term not in off),
        addable=slots(term for term in here if term in off),
        absent={t: off.get(t) or row.absent[t] for t in TERM_KEYS if t in off or t not in modules},
        key_rule=_key_rule(row, config, head_dim),
        head=_head(row, config),
        packing=row.packing(config),
        causal=_causal(row, config),
        mask=row.mask,
        window=row.window(config),
        position_offset=row.position_offset(config),
        prefix=row.prefix,
        disk=row.disk,
        block=row.block,
        lm=_lm(row, config),
        inputs_first=row.inputs_first,
        reads_positions=row.reads_positions(config),
    )


def _layer_paths(row: Row, config: Config) -> list[str]:
    if not row.shared:
        return [row.layer.format(n=n) for n in range(size(config, LAYERS, most=MAX_LAYERS))]
    groups = size(config, ("num_hidden_groups",), default=1)
    inner = size(config, ("inner_group_num",), default=1)
    size(
        {"num_hidden_groups * inner_group_num": groups * inner},
        ("num_hidden_groups * inner_group_num",),
        most=MAX_LAYERS,
    )
    return [row.layer.format(group=g, inner=i) for g in range(groups) for i in range(inner)]


def _key_rule(row: Row, config: Config, head_dim: int) -> KeyRule:
    if str(config.get("position_embedding_type", "")).startswith("relative_key"):
        return KeyRule(False, "relative-key positions: the key bias meets position vectors that differ from key to key")
    broken = [name for name in NOT_PLAIN_SOFTMAX if config.get(name)]
    if broken:
        return KeyRule(False, f"{broken[0]} breaks the plain softmax")
    return row.key if isinstance(row.key, KeyRule) else row.key(config, head_dim)


def _causal(row: Row, config: Config) -> bool:
    looks_ahead = bool(config.get("use_bidirectional_attention"))  # encoders made of a Gemma
    return (row.stack == "decoder" and not looks_ahead) or bool(config.get("is_decoder"))


def _lm(row: Row, config: Config) -> LmSpec | None:
    spec = row.lm(config) if callable(row.lm) else row.lm
    if spec is None or not _causal(row, config):
        return None
    return dataclasses.replace(spec, tied=bool(first_set(config, ("tie_word_embeddings",), default=spec.tied)))


def _head(row: Row, config: Config) -> HeadSpec:
    head = row.head(config) if callable(row.head) else row.head
    return dataclasses.replace(head, dropout=float(first_set(config, row.head_dropout, default=head.dropout)))
