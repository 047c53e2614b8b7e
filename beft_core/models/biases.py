"""Biases of a loaded model, read and written in place: one slot, a term over layers, or all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from beft_core.architectures.layout import BiasSlot, Layout
from beft_core.errors import UserError
from beft_core.snapshots.snapshot import ModelInfo, weights_fingerprint

Biases = Mapping[tuple[str, str], np.ndarray]
"""Values of bias terms: (stack, term) -> float32 [layers, width]."""


@dataclass
class OutputLayer:
    """Weights of a language-model head that are not the embedding: frozen, on the backbone's device."""

    weight: torch.Tensor
    """Weight [vocabulary, width]."""
    bias: torch.Tensor | None = None
    """Bias [vocabulary]; None: there is none."""

    def to(self, device: torch.device) -> None:
        """Move the weights to a device."""
        self.weight = self.weight.to(device)
        self.bias = None if self.bias is None else self.bias.to(device)


@dataclass
class LoadedModel:
    """Base model: a frozen backbone with what is needed to use it."""

    backbone: nn.Module
    """Backbone, the ``AutoModel`` of the checkpoint, in evaluation mode; no parameter requires a gradient.

    In float32 on the CPU, unless it was placed elsewhere (:mod:`beft_core.models.placement`).
    """
    tokenizer: Any
    """Tokenizer, the ``AutoTokenizer`` of the checkpoint; ``None`` for image models."""
    layout: Layout
    config: Any
    """Configuration object of transformers."""
    info: ModelInfo
    """Facts about the model that snapshots record; the fingerprint is over the biases as loaded, without added ones."""
    files: Path | None = None
    """Folder with the weights; None for a model that was in memory."""
    output: OutputLayer | None = None
    """Language-model head that is not the embedding, once it was read; :mod:`beft_core.models.lm_head` reads it."""

    embeddings_ahead: int = 0
    """Number of embeddings that a method puts before every text while it is installed; 0: none."""

    @property
    def id(self) -> str:
        """Id of the model: ``bundled``, a Hub id, or a folder's name."""
        return self.info.id

    @property
    def revision(self) -> str | None:
        """Commit on the Hub; None for a model from elsewhere."""
        return self.info.revision


def get_bias(backbone: nn.Module, slot: BiasSlot) -> torch.Tensor:
    """Copy one slot's bias [width], in the parameter's dtype and on its device."""
    return _parameter(backbone, slot).detach()[_index(slot)].clone()


def set_bias(backbone: nn.Module, slot: BiasSlot, value: torch.Tensor | np.ndarray) -> None:
    """Write one slot's bias [width] in place; of a fused projection only that slice changes."""
    parameter = _parameter(backbone, slot)
    with torch.no_grad():
        source = torch.tensor(value) if isinstance(value, np.ndarray) else value
        parameter[_index(slot)] = source.to(parameter)


def biases(model: LoadedModel) -> dict[tuple[str, str], np.ndarray]:
    """Copy all bias terms of a model: (stack, term) -> float32 [layers, width], in canonical order."""
    return read_biases(model.backbone, model.layout)


def write_biases(model: LoadedModel, values: Biases) -> None:
    """Put bias terms, such as a snapshot's ``post``, back into the model. Nothing is written if anything is
    wrong.

    Raises UserError for terms that the model does not have and arrays of another shape.
    """
    for (stack, term), value in values.items():
        model.layout.require([term])
        slots = model.layout.slots_of(term)
        shape = (len(slots), slots[0].width)
        if stack != model.layout.stack or value.shape != shape:
            raise UserError(
                f"got {stack}.{term} of shape {tuple(value.shape)}",
                f"{model.layout.stack}.{term} of shape {shape}, as {model.id} has it",
                "the base model that the snapshot was made with",
            )
    for (_, term), value in values.items():
        for slot, row in zip(model.layout.slots_of(term), value, strict=True):
            set_bias(model.backbone, slot, row)


@contextlib.contextmanager
def restored(model: LoadedModel) -> Iterator[None]:
    """Restore all biases at the end of this context, within which they may be overwritten."""
    before = [(slot, get_bias(model.backbone, slot)) for slot in model.layout.slots]
    try:
        yield
    finally:
        for slot, value in before:
            set_bias(model.backbone, slot, value)


def available_terms(model: LoadedModel) -> tuple[str, ...]:
    """Terms that the model has, in canonical order."""
    return model.layout.terms


def require_terms(model: LoadedModel, terms: Iterable[str]) -> None:
    """Raise UserError, listing the terms that the model has, unless it has all of ``terms``."""
    model.layout.require(terms)


def add_zero_bias(model: LoadedModel, term: str) -> None:
    """Give a term that the architecture lacks a bias of zeros, which can then be trained; the outputs stay
    the same.

    A fused projection without a bias gets one for q, k and v together, of which only the term's slice is a
    slot. Does nothing if the model has the term. Raises UserError if there is no module for it (RMSNorm, for
    one).
    """
    if term in model.layout.terms:
        return
    layout = model.layout.with_added([term])
    like = next(model.backbone.parameters())
    for slot in layout.slots_of(term):
        module: Any = model.backbone.get_submodule(slot.module)
        if module.bias is None:
            width = module.out_features if isinstance(module, nn.Linear) else module.normalized_shape
            zeros = torch.zeros(width, dtype=like.dtype, device=module.weight.device)
            module.bias = nn.Parameter(zeros, requires_grad=False)
    model.layout = layout


def read_biases(backbone: nn.Module, layout: Layout) -> dict[tuple[str, str], np.ndarray]:
    return {
        (layout.stack, term): np.stack(
            [get_bias(backbone, slot).float().cpu().numpy() for slot in layout.slots_of(term)]
        )
        for term in layout.terms
    }


def weights_of(backbone: nn.Module, layout: Layout) -> str | None:
    """Name a model without biases by its weights, as :meth:`ModelWeights.weights_fingerprint` does by its files.

    None: the model has biases, or matrices that cannot be compared, because they are on no device or in a type that
    rounds what the files hold.
    """
    if layout.terms:
        return None
    rows = []
    for parameter in layout.matrices:
        module = backbone.get_submodule(parameter.removesuffix(".weight"))
        weight: Any = getattr(module, "weight", None)
        if not isinstance(weight, torch.Tensor) or weight.dtype not in (torch.float32, torch.bfloat16):
            return None
        if weight.is_meta or weight.ndim != 2:
            return None
        rows.append(weight[0].detach().float().cpu().numpy())
    return weights_fingerprint(rows) if rows else None


def _parameter(backbone: nn.Module, slot: BiasSlot) -> nn.Parameter:
    return getattr(backbone.get_submodule(slot.module), slot.attribute)


def _index(slot: BiasSlot) -> slice | torch.Tensor:
    return slot.index if isinstance(slot.index, slice) else torch.from_numpy(slot.index)
