"""Loader of a base model: its backbone in evaluation mode, with its tokenizer and layout.

It is in float32 on the CPU, unless a language model is to be placed elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from beft_core.architectures.resolve import layout_for
from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel, read_biases, weights_of
from beft_core.models.model_fit import require_fit, require_known_tokens
from beft_core.models.packing import accept_packed_masks
from beft_core.models.placement import Placement, require_on_devices
from beft_core.models.source import BUNDLED, ModelSource, locate
from beft_core.snapshots.snapshot import ModelInfo, fingerprint

ATTENTION = ("sdpa", "eager")
"""Names of the implementations of attention that can be asked for."""
CAPPED = ("attn_logit_softcapping", "attn_logit_softcap")
"""Keys of a configuration that bound the logits of attention (Gemma 2). PyTorch's SDPA bounds none, which transformers
before 5.24 passes over without a word.
"""


def load_model(
    name: str = BUNDLED, *, attn: str = "sdpa", local_only: bool = False, placement: Placement | None = None
) -> LoadedModel:
    """Load the ``bundled`` model, a Hub id with optional ``@revision``, or a folder.

    ``attn`` is ``sdpa`` or ``eager``; an architecture without the former falls back to the latter. ``placement``: where
    the weights of a language model go; other models are read as without it, into main memory.

    Raises:
        UserError: as :func:`beft_core.models.source.locate`, for weights that are corrupt or belong to another
            architecture, and for a model that the devices of ``placement`` cannot hold.
    """
    if attn not in ATTENTION:
        raise UserError(f"got the attention implementation {attn!r}", f"one of {', '.join(ATTENTION)}")
    source = locate(name, local_only=local_only)
    backbone = _load_backbone(source, attn, placement if source.layout.lm is not None else None)
    tokenizer = None if source.layout.model_type == "vit" else _load_tokenizer(source)
    model = wrap(backbone, tokenizer, id=source.id, revision=source.revision, folder=source.own_folder)
    model.files = source.folder
    return model


def load_tokenizer(name: str = BUNDLED, *, local_only: bool = False) -> Any:
    """Load only the tokenizer of a model; names and errors as in :func:`load_model`."""
    return _load_tokenizer(locate(name, local_only=local_only))


def wrap(
    backbone: nn.Module, tokenizer: Any = None, *, id: str, revision: str | None = None, folder: str | None = None
) -> LoadedModel:
    """Make a :class:`LoadedModel` of a backbone in memory, which is frozen and put into evaluation mode.

    ``id``, ``revision``, ``folder``: see :class:`beft_core.snapshots.meta.ModelInfo`.
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
        fingerprint=fingerprint(read_biases(backbone, layout)),
        folder=folder,
        weights=weights_of(backbone, layout),
    )
    return LoadedModel(backbone, tokenizer, layout, config, info)


# ---- Loading -----------------------------------------------------------------------------------------------


LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""Arguments of everything that reads a model's files."""


def read_config(source: ModelSource) -> Any:
    """Read a model's configuration as transformers does. Raises UserError where it cannot be read."""
    from transformers import AutoConfig

    with _told(source, "configuration"):
        return AutoConfig.from_pretrained(source.folder, **LOCAL)


def described(source: ModelSource, config: Any) -> nn.Module:
    """Make the backbone that a configuration describes, without values. Raises UserError as
    :func:`beft_core.models.model_fit.require_fit`.
    """
    with _told(source, "configuration"):
        return require_fit(source, config)


def _load_backbone(source: ModelSource, attn: str, placement: Placement | None) -> nn.Module:
    from transformers import AutoModel

    config = read_config(source)
    read = partial(AutoModel.from_pretrained, source.folder, use_safetensors=True, **LOCAL)
    with placement.reading() if placement is not None else contextlib.nullcontext():
        shapes = described(source, config)
        if placement is not None:
            read = partial(read, device_map=placement.device_map(shapes))
        with _told(source, "weights"):
            backbone = assembled(read, config, attn, f"weights in {source.folder}")
    require_on_devices(backbone)
    return backbone


def assembled(read: Callable[..., Any], config: Any, attn: str, where: str) -> nn.Module:
    """Make a backbone in float32 by one of transformers' ``from_pretrained``, and see that its weights are all there.

    ``where``: what holds the weights, in words. Raises UserError where one is missing or has another shape; only a
    pooler may be missing, and is drawn at random, always the same.
    """
    if any(getattr(config, key, None) is not None for key in CAPPED):
        attn = "eager"
    # A checkpoint without a pooler gets a random one; the fork keeps that repeatable and the caller's stream
    # untouched.
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(0)
        backbone, report = read(
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, with the tensor's name
            # None leaves it to transformers, which takes SDPA where the architecture has it, and eager otherwise.
            attn_implementation=None if attn == "sdpa" else attn,
        )
    missing = sorted(name for name in report["missing_keys"] if "pooler" not in name)
    if missing or report["mismatched_keys"]:
        example = missing[0] if missing else str(next(iter(report["mismatched_keys"]))[0])
        raise UserError(
            f"got {where} without a fitting {example} ({len(missing) + len(report['mismatched_keys'])} such tensors)",
            f"all weights of a {config.model_type} model as its config.json describes it",
        )
    return backbone


def _load_tokenizer(source: ModelSource) -> Any:
    from transformers import AutoTokenizer

    with _told(source, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(source.folder, local_files_only=True, trust_remote_code=False)
    return checked_tokenizer(tokenizer, source.config.get("vocab_size"), source.folder.name)


def checked_tokenizer(tokenizer: Any, embeddings: object, where: str) -> Any:
    """Return a tokenizer that can pad. Raises UserError where the model has no embedding for one of its numbers."""
    require_known_tokens(tokenizer, embeddings, where)
    if tokenizer.pad_token is None:
        # Decoders are trained without padding; its positions are masked, so any token does.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


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
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' warnings and progress bars while the context is open; what matters is checked and raised
    instead.
    """
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()
