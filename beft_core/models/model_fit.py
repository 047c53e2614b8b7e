"""Checks that a model's parts fit each other, from what they say of themselves, before memory is taken for them.

A configuration may ask for a vocabulary of a billion words over weights of a thousand; transformers would then make the
missing rows. A tokenizer may give numbers for which there is no embedding, which training meets at the first such word.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from beft_core.errors import UserError
from beft_core.models.bias_reader import ModelWeights, parameter_sizes
from beft_core.models.source import ModelSource

ROOM = 64_000_000
"""Number of parameters that a model may have besides those in its file: a pooler, tables of positions."""


def require_fit(source: ModelSource, config: Any) -> nn.Module:
    """Compare what ``config.json`` describes with the headers of the weights; return the described model, without
    values.

    Raises:
        UserError: the configuration describes a model that is far larger than its weights, or has no place for a bias
            among them.
    """
    from transformers import AutoModel

    weights = ModelWeights(source.folder)
    shapes = weights.shapes()
    if source.layout.layers > max(1, len(shapes)):
        raise UserError(
            f"got a config.json with {source.layout.layers} layers over {len(shapes)} tensors", "its own weights"
        )
    with torch.device("meta"):  # shapes only, so any attention does; the one that a configuration names may be missing
        backbone = AutoModel.from_config(config, attn_implementation="eager")
    described = sum(parameter.numel() for parameter in backbone.parameters())
    stored = sum(math.prod(shape) for shape in shapes.values())
    if described > 2 * stored + ROOM:
        raise UserError(
            f"got a config.json that describes {described:,} parameters over weights of {stored:,}",
            "the weights of the model that it describes",
        )
    _require_places(weights, source, backbone)
    return backbone


def _require_places(weights: ModelWeights, source: ModelSource, backbone: nn.Module) -> None:
    """Raises UserError where a folder holds a bias for which the described model has no place: transformers would leave
    it out without a word. One of zeros, as some quantisers write it, is no loss.
    """
    sizes = parameter_sizes(source.layout)
    places = {name for name, _ in backbone.named_parameters()}
    for slot in source.layout.addable:
        name = None if slot.parameter in places else weights.find(source.layout.checkpoint_names(slot))
        if name is not None and weights.vector(name, sizes[slot.parameter]).any():
            raise without_place(
                f"weights in {source.folder}",
                name,
                f"beft extract BASE {source.folder}, which makes a snapshot of it, or a folder of beft export --merged",
            )


def without_place(where: str, bias: str, try_: str) -> UserError:
    """Describe a bias that a model holds and its configuration does not know. ``where``: the model, in words."""
    return UserError(
        f"got {where} with {bias}, which its configuration has no place for: a fine-tune's bias that was added",
        "the model as it was before apply_to",
        try_,
    )


def require_known_tokens(tokenizer: Any, embeddings: object, where: str) -> None:
    """Check that every number that a tokenizer can give has an embedding.

    ``embeddings``: how many the model has, as its configuration says; anything but a whole number is not known.
    ``where``: where the tokenizer comes from, in words.

    Raises:
        UserError: one has none.
    """
    if type(embeddings) is not int:
        return
    token, number = max(tokenizer.get_vocab().items(), key=lambda item: item[1], default=("", 0))
    if number >= embeddings:
        raise UserError(
            f"got a tokenizer in {where} that numbers {token[:40]!r} with {number}",
            f"numbers below the model's {embeddings} embeddings",
            "the tokenizer of this model",
        )
