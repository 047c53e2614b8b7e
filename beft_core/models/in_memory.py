"""Base model from one that a user has loaded: copied, so that theirs stays as it is."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import MODEL_MAPPING, PreTrainedModel

from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel, OutputLayer
from beft_core.models.load import assembled, checked_tokenizer, wrap
from beft_core.models.model_fit import without_place
from beft_core.models.source import BUNDLED, bundled_path, locate


def backbone_of(model: object) -> PreTrainedModel:
    """Return the backbone of a model of transformers, with or without a head: what ``AutoModel`` gives.

    Raises UserError for anything else.
    """
    if not isinstance(model, PreTrainedModel):
        adapter = hasattr(model, "get_base_model")
        raise UserError(
            f"got a {type(model).__name__} for a model",
            "a model of transformers, with or without a head",
            "model.merge_and_unload()" if adapter else "",
        )
    backbone: Any = model.base_model
    kind = MODEL_MAPPING.get(type(backbone.config), None)
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if type(backbone) not in kinds:
        known = " or ".join(one.__name__ for one in kinds if one is not None) or "a model that AutoModel makes"
        raise UserError(f"got a {type(model).__name__}, whose backbone is a {type(backbone).__name__}", known)
    return backbone


def copied(model: object, tokenizer: Any) -> LoadedModel:
    """Copy a loaded model of transformers as a base model: its backbone in float32 on the CPU; of its heads that of a
    language model alone.

    Neither the model nor the tokenizer is changed. Raises UserError: no model of transformers, an architecture that is
    not known, weights that are not plain numbers (quantised ones, adapters), no tokenizer, or that of another model.
    """
    backbone = backbone_of(model)
    where = f"the loaded {type(model).__name__}"
    if tokenizer is None:
        raise UserError(f"got {where} without its tokenizer", "both", "tokenizer=AutoTokenizer.from_pretrained(NAME)")
    if not hasattr(tokenizer, "get_vocab"):
        raise UserError(f"got a {type(tokenizer).__name__} for a tokenizer", "one of transformers")
    if any(".base_layer." in name for name, _ in backbone.named_parameters()):
        raise UserError(f"got {where} with an adapter in it", "a model alone", "merge_and_unload() of its PeftModel")
    for name, value in backbone.named_parameters():
        if not value.is_floating_point() or value.device.type == "meta":
            kind = "no values" if value.device.type == "meta" else f"values of type {value.dtype}"
            raise UserError(f"got {where}, whose {name} has {kind}", "weights in memory, not quantised")
    state = {name: value.detach().to("cpu", copy=True) for name, value in backbone.state_dict().items()}
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    read = partial(type(backbone).from_pretrained, None, state_dict=state)
    config = backbone.config.from_dict(backbone.config.to_dict())  # without how the model computes attention
    made = assembled(read, config, "sdpa", where)
    left = [name for name in state if name.endswith(".bias") and name not in made.state_dict() and state[name].any()]
    if left:
        raise without_place(where, left[0], "from_pretrained again, or a folder of beft export --merged")
    own = checked_tokenizer(
        copy.deepcopy(tokenizer), getattr(made.config, "vocab_size", None), f"the tokenizer given with {where}"
    )
    found = origin(backbone)
    loaded = wrap(made, own, id=found.id, revision=found.revision, folder=found.folder)
    loaded.output = _own_head(model, backbone) if loaded.layout.lm is not None else None
    return loaded


def _own_head(model: Any, backbone: PreTrainedModel) -> OutputLayer | None:
    """Copy the language-model head of a loaded model, in float32; None: it has none, or it is the embedding."""
    head = model.get_output_embeddings()
    if head is None or head.weight is backbone.get_input_embeddings().weight:
        return None
    bias = getattr(head, "bias", None)
    return OutputLayer(_copy(head.weight), None if bias is None else _copy(bias))


def _copy(value: torch.Tensor) -> torch.Tensor:
    return value.detach().to("cpu", torch.float32, copy=True)


class Origin(NamedTuple):
    """Where a loaded model comes from; see :class:`beft_core.snapshots.meta.ModelInfo`."""

    id: str
    revision: str | None = None
    folder: str | None = None


def origin(model: PreTrainedModel) -> Origin:
    """Say where a loaded model comes from: the name that its files have here, else that of its class."""
    name = str(getattr(model, "name_or_path", "") or "")
    if name and Path(name) == _bundled():
        return Origin(BUNDLED)
    try:
        found = locate(name, local_only=True)
    except UserError:
        return Origin(f"{type(model).__name__} in memory")
    return Origin(found.id, found.revision, found.own_folder)


def _bundled() -> Path | None:
    try:
        return bundled_path()
    except UserError:
        return None
