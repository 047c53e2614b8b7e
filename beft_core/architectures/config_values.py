"""Values of a model's ``config.json``, which may hold anything: the first name that is set, sizes within bounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from beft_core.errors import UserError

Config = Mapping[str, Any]
"""Content of a model's ``config.json``, or ``PretrainedConfig.to_dict()``."""

HIDDEN = ("hidden_size", "n_embd", "n_embed", "dim", "d_model")
HEADS = ("num_attention_heads", "n_head", "n_heads")
LAYERS = ("num_hidden_layers", "n_layer", "n_layers")

MAX_SIZE = 200_000
"""Largest size that a configuration may name: no model has more, and a hostile one must not make this module allocate.
"""

MAX_LAYERS = 2000
"""Most layers that a configuration may name, since a slot is made for each; no model has more."""


def first_set(config: Config, names: Iterable[str], default: Any = None) -> Any:
    """Value under the first of ``names`` that is set. Raises UserError if none is and there is no default."""
    names = tuple(names)
    for name in names:
        if config.get(name) is not None:
            return config[name]
    if default is None:
        raise UserError(f"got a {config.get('model_type')} config without {names[0]}", f"a number under {names[0]}")
    return default


def size(config: Config, names: Iterable[str], default: int | None = None, most: int = MAX_SIZE) -> int:
    """Positive whole number under the first of ``names`` that is set, at most ``most``; else a UserError."""
    names = tuple(names)
    value = first_set(config, names, default)
    if type(value) is not int or not 1 <= value <= most:
        raise UserError(f"got {names[0]} = {value!r} in the config", f"a whole number from 1 to {most}")
    return value
