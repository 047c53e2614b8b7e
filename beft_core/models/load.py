"""Loading a backbone, and reading and writing its bias terms.

A :class:`LoadedModel` is the frozen pre-trained backbone in float32 on the CPU, in evaluation mode, with its
tokenizer and the :class:`~beft_core.architectures.table.Layout` that says where each bias term is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from beft_core.architectures.table import ROWS, BiasSlot, Layout, layout_for
from beft_core.errors import UserError
from beft_core.models.model_fit import require_fit, require_known_tokens
from beft_core.models.packing import accept_packed_masks
from beft_core.models.source import BUNDLED, ModelSource, locate
from beft_core.snapshots.snapshot import ModelInfo, fingerprint

Biases = Mapping[tuple[str, str], np.ndarray]
"""(stack, term) -> float32 [layers, width]."""

ATTENTION = ("sdpa", "eager")
"""Implementations of attention that can be asked for."""


@dataclass
class LoadedModel:
    """A frozen backbone with what is needed to use it."""

    backbone: nn.Module
    """``AutoModel`` of the checkpoint: float32, CPU, evaluation mode, no parameter requires a gradient."""
    tokenizer: Any
    """``AutoTokenizer`` of the checkpoint; ``None`` for image models."""
    layout: Layout
    config: Any
    """transformers' configuration object."""
    info: ModelInfo
    """What snapshots record; its fingerprint is over the biases as loaded, without added ones."""

    @property
    def id(self) -> str:
        """``bundled``, a Hub id, or a folder's name."""
        return self.info.id

    @property
    def revision(self) -> str | None:
        """Commit on the Hub."""
        return self.info.revision


def known_models() -> dict[str, str]:
    """What ``--model`` takes -> words for a listing."""
    return {
        BUNDLED: "sentence-transformers/all-MiniLM-L6-v2: BERT, 6 layers, 384 wide; needs no network",
        "ORG/MODEL[@REVISION]": "a model of the Hugging Face Hub with safetensors weights",
        "FOLDER": f"a folder that save_pretrained wrote; model types: {', '.join(sorted(ROWS))}",
    }


def load_model(name: str = BUNDLED, *, attn: str = "sdpa", local_only: bool = False) -> LoadedModel:
    """Load the ``bundled`` model, a Hub id with optional ``@revision``, or a folder.

    ``attn`` is ``sdpa`` or ``eager``; an architecture without the former falls back to the latter. Raises
    UserError as :func:`beft_core.models.source.locate` does, and for weights that are corrupt or belong to
    another architecture.
    """
    if attn not in ATTENTION:
        raise UserError(f"got the attention implementation {attn!r}", f"one of {', '.join(ATTENTION)}")
    source = locate(name, local_only=local_only)
    backbone = _load_backbone(source, attn)
    tokenizer = None if source.layout.model_type == "vit" else _load_tokenizer(source)
    return wrap(backbone, tokenizer, id=source.id, revision=source.revision)


def load_tokenizer(name: str = BUNDLED, *, local_only: bool = False) -> Any:
    """Only the tokenizer of a model; names and errors as in :func:`load_model`."""
    return _load_tokenizer(locate(name, local_only=local_only))


def wrap(backbone: nn.Module, tokenizer: Any = None, *, id: str, revision: str | None = None) -> LoadedModel:
    """A :class:`LoadedModel` of a backbone that exists in memory; freezes it and puts it into evaluation
    mode.
    """
    backbone.eval().requires_grad_(False)
    config: Any = backbone.config
    config.use_cache = False  # keys and values are never kept: nothing is generated here
    layout = layout_for(config)
    accept_packed_masks(backbone, layout)
    info = ModelInfo(
        id=id,
        revision=revision,
        architecture=layout.model_type,
        layers=layout.layers,
        hidden_size=layout.hidden_size,
        fingerprint=fingerprint(_read(backbone, layout)),
    )
    return LoadedModel(backbone, tokenizer, layout, config, info)


# ---- Bias terms --------------------------------------------------------------------------------------------


def get_bias(backbone: nn.Module, slot: BiasSlot) -> torch.Tensor:
    """A copy of one slot's bias [width], in the parameter's dtype and on its device."""
    return _parameter(backbone, slot).detach()[_index(slot)].clone()


def set_bias(backbone: nn.Module, slot: BiasSlot, value: torch.Tensor | np.ndarray) -> None:
    """Write one slot's bias [width] in place; of a fused projection only that slice changes."""
    parameter = _parameter(backbone, slot)
    with torch.no_grad():
        source = torch.tensor(value) if isinstance(value, np.ndarray) else value
        parameter[_index(slot)] = source.to(parameter)


def biases(model: LoadedModel) -> dict[tuple[str, str], np.ndarray]:
    """All bias terms of a model: (stack, term) -> float32 [layers, width], in canonical order."""
    return _read(model.backbone, model.layout)


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
    """Within this context biases may be overwritten; afterwards they are as before."""
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
            zeros = torch.zeros(width, dtype=like.dtype, device=like.device)
            module.bias = nn.Parameter(zeros, requires_grad=False)
    model.layout = layout


def _read(backbone: nn.Module, layout: Layout) -> dict[tuple[str, str], np.ndarray]:
    return {
        (layout.stack, term): np.stack(
            [get_bias(backbone, slot).float().cpu().numpy() for slot in layout.slots_of(term)]
        )
        for term in layout.terms
    }


def _parameter(backbone: nn.Module, slot: BiasSlot) -> nn.Parameter:
    return getattr(backbone.get_submodule(slot.module), slot.attribute)


def _index(slot: BiasSlot) -> slice | torch.Tensor:
    return slot.index if isinstance(slot.index, slice) else torch.from_numpy(slot.index)


# ---- Loading -----------------------------------------------------------------------------------------------


def _load_backbone(source: ModelSource, attn: str) -> nn.Module:
    from transformers import AutoConfig, AutoModel

    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with _told(source, "configuration"):
        config = AutoConfig.from_pretrained(source.folder, **local)
        require_fit(source, config)
    # A checkpoint without a pooler gets a random one; the fork keeps that repeatable and the caller's stream
    # untouched.
    with torch.random.fork_rng(devices=[]), _quiet_transformers(), _told(source, "weights"):
        torch.manual_seed(0)
        backbone, report = AutoModel.from_pretrained(
            source.folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, with the tensor's name
            attn_implementation=attn if _supports(config, attn) else "eager",
            **local,
        )
    missing = sorted(name for name in report["missing_keys"] if "pooler" not in name)
    if missing or report["mismatched_keys"]:
        example = missing[0] if missing else str(next(iter(report["mismatched_keys"]))[0])
        raise UserError(
            f"got weights in {source.folder} without a fitting {example}"
            f" ({len(missing) + len(report['mismatched_keys'])} such tensors)",
            f"all weights of a {source.layout.model_type} model as its config.json describes it",
        )
    return backbone


def _load_tokenizer(source: ModelSource) -> Any:
    from transformers import AutoTokenizer

    with _told(source, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(source.folder, local_files_only=True, trust_remote_code=False)
    require_known_tokens(source, tokenizer)
    if tokenizer.pad_token is None:
        # Decoders are trained without padding; its positions are masked, so any token does.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _supports(config: Any, attn: str) -> bool:
    from transformers import MODEL_MAPPING

    return attn == "eager" or bool(getattr(MODEL_MAPPING[type(config)], "_supports_sdpa", False))


@contextlib.contextmanager
def _told(source: ModelSource, part: str) -> Iterator[None]:
    """Turn whatever the readers raise into one line: a checkpoint comes from a stranger, and each reader (JSON,
    safetensors, tokenizers, transformers' validation) has its own errors for files that are not as they should be.
    """
    try:
        yield
    except (MemoryError, UserError):
        raise
    except Exception as error:
        raise UserError(
            f"got {source.folder}, whose {part} cannot be read ({error})",
            "a complete model as save_pretrained writes it",
            "downloading the model again",
        ) from error


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No warnings about an unused pre-training head; what matters is checked and raised instead."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()
