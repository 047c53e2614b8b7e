"""Private names of transformers that the engine needs; no other module of the engine uses one.

It is the same in transformers 5.17 and 5.24.
"""

from __future__ import annotations

from typing import Any

from torch import nn


def attention_name(backbone: nn.Module) -> str | None:
    """Name the attention function that a model uses now, a key of transformers' registry or ``eager``.

    ``set_attn_implementation`` is public and nothing says what it set, so that it could be put back.
    """
    config: Any = backbone.config
    name: str | None = config._attn_implementation
    return name
