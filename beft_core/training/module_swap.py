"""Exchange of modules and attention in a frozen model for a while; the model is afterwards as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from beft_core.libraries.transformers_private import attention_name


@contextmanager
def standing_in(roots: Iterable[nn.Module], stand_ins: Mapping[nn.Module, nn.Module]) -> Iterator[None]:
    """Put a value of ``stand_ins`` in the place of its key everywhere below ``roots``, while the context is open."""
    places = []
    for root in roots:
        for path, child in root.named_modules(remove_duplicate=False):
            if path and child in stand_ins:
                parent, _, name = path.rpartition(".")
                places.append((root.get_submodule(parent), name, child))
    for parent, name, child in places:
        setattr(parent, name, stand_ins[child])
    try:
        yield
    finally:
        for parent, name, child in places:
            setattr(parent, name, child)


def takes_attention(backbone: nn.Module) -> bool:
    """Say whether a model takes its attention function from transformers' registry, and uses ``sdpa`` now."""
    from_registry = isinstance(backbone, PreTrainedModel) and backbone.is_backend_compatible()
    return from_registry and attention_name(backbone) == "sdpa"


@contextmanager
def attention_called(backbone: nn.Module, name: str) -> Iterator[None]:
    """Give a model the attention of that name in the registry while the context is open.

    ``backbone``: one that :func:`takes_attention`.
    """
    model: Any = backbone
    before = attention_name(backbone)
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def for_every_head(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat keys and values [B, heads, S, hs] where several heads of ``query`` share one of them.

    Returns both with as many heads as ``query`` [B, heads of query, S, hs].
    """
    groups = query.shape[1] // key.shape[1]
    if groups == 1:
        return key, value
    return key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
