"""Plain model folder of a fine-tune: the base model of transformers with the trained biases, and the head, in place.

Whatever reads such folders serves it, without the lab and without PEFT. Weights are float32, as they were trained.
"""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from beft_core.architectures.table import ROWS
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.exchange.peft_adapter import head_names
from beft_core.files.paths import free_folder
from beft_core.models.biases import LoadedModel, write_biases
from beft_core.models.lm_head import LmHead
from beft_core.models.load import quiet_transformers
from beft_core.snapshots.snapshot import Snapshot
from beft_core.training.evaluate import load_base
from beft_core.training.inputs import Base
from beft_core.training.methods.bias_bank import outside_modules
from beft_core.training.preconditions import head_of, refuse_changed_weights


def write_merged(
    snapshot: Snapshot,
    folder: str | os.PathLike[str],
    config: RunConfig,
    *,
    task: str | None = None,
    base: Base | None = None,
) -> Path:
    """Write a fine-tune as a folder that ``from_pretrained`` of transformers opens with the same outputs.

    ``config`` names the base model, and the zero biases that were added to it. ``task`` chooses the head; by default
    the snapshot's own task, if there is a head for it. Without a head, a decoder is written with its language-model
    head and an encoder without any. The folder appears whole or not at all.

    Raises:
        UserError: the folder exists and is not empty, another base model, more than biases was trained, no head for a
            ``task`` that is named, a bias that the architecture has no place for, or a head that is not that of
            transformers' classifier.
    """
    target = free_folder(folder)
    if not target.parent.is_dir():
        raise UserError(f"got {folder}, whose own folder does not exist", "a folder in one that exists")
    refuse_changed_weights(snapshot)
    if task is not None:
        head_of(snapshot, task)
    model = load_base(snapshot, config, base)
    whole = merged_model(snapshot, model, task)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch, quiet_transformers():
            made = Path(scratch) / "model"
            whole.save_pretrained(made)
            if model.tokenizer is not None:
                model.tokenizer.save_pretrained(made)
            if target.exists():
                target.rmdir()  # it is empty
            made.rename(target)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}", "a folder that can be written") from None
    return target


@torch.no_grad()
def merged_model(snapshot: Snapshot, model: LoadedModel, task: str | None = None) -> Any:
    """Make transformers' model of a snapshot and its base, with a head for ``task``; see :func:`write_merged`.

    ``model``: the base, with the zero biases that the fine-tune added; its biases are replaced.

    Raises:
        UserError: as :func:`write_merged`.
    """
    layout, task = model.layout, task or snapshot.meta.task
    write_biases(model, {key: snapshot.post(*key) for key in snapshot.keys()})  # noqa: SIM118 - a method of Snapshot
    prefix = f"extra.{task}."
    parts = {name.removeprefix(prefix): value for name, value in snapshot.extra.items() if name.startswith(prefix)}
    if "pooler.bias" in parts and layout.head.pooler_module is not None:
        _set(model.backbone.get_submodule(layout.head.pooler_module).bias, "pooler.bias", parts["pooler.bias"])
    if "outside.bias" in parts:
        modules: list[Any] = list(outside_modules(model))
        sizes = [module.bias.numel() for module in modules]
        if parts["outside.bias"].shape != (sum(sizes),):
            raise UserError(f"got {parts['outside.bias'].size} biases outside of the layers", f"{sum(sizes)}")
        for module, values in zip(modules, np.split(parts["outside.bias"], np.cumsum(sizes[:-1])), strict=True):
            _set(module.bias, "outside.bias", values)
    settings = copy.deepcopy(model.config)
    settings.use_cache = True  # the lab keeps no keys and values, whoever serves the model does
    settings.dtype = "float32"
    for name in _flags(snapshot, model):
        setattr(settings, name, True)
    head = {name: value for name, value in parts.items() if name.startswith("head.")}
    if head:
        whole = _with_head(settings, model, head, snapshot.meta.heads.get(task, {}))
    elif layout.lm is not None:
        whole = _with_lm_head(settings, model)
    else:
        whole = AutoModel.from_config(settings, dtype=torch.float32)
        _fill(whole, model)
    whole.eval()
    return whole


def _flags(snapshot: Snapshot, model: LoadedModel) -> list[str]:
    """List the keys of a configuration that give the model those biases that were added to it and have moved.

    Raises:
        UserError: a bias for which transformers' model has no place.
    """
    layout, row = model.layout, ROWS[model.layout.model_type]
    keys = set(snapshot.keys())
    moved = {
        term
        for term in layout.added
        if (key := (layout.stack, term)) in keys and not np.array_equal(snapshot.post(*key), snapshot.pre(*key))
    }
    found: list[str] = []
    for term in sorted(moved):
        flag = next((one for one in row.flags if term in one.terms.split()), None)
        if flag is None or flag.key is None:
            raise UserError(
                f"got a trained {term} bias for {layout.model_type}, whose model in transformers never has one",
                "a term that it has, or can have by its configuration",
                "beft peft export, whose adapter adds the bias",
            )
        found.append(flag.key)
    return list(dict.fromkeys(found))


def _fill(backbone: Any, model: LoadedModel) -> None:
    """Copy the weights of the lab's backbone; biases that a flag brought are zero unless they are among them.

    Raises:
        UserError: a bias that is not zero has no place in transformers' model.
    """
    have, wanted = model.backbone.state_dict(), backbone.state_dict()
    for name, value in wanted.items():
        if name in have:
            value.copy_(have[name])
        else:
            assert name.endswith("bias"), f"{name} is not among the weights of {model.id}"
            value.zero_()
    lost = [name for name in have if name not in wanted and not name.startswith("pooler.") and bool(have[name].any())]
    if lost:
        raise UserError(
            f"got {lost[0]} of a {model.layout.model_type} model, for which transformers' model has no place",
            "terms that it has, or can have by its configuration",
            "beft peft export, whose adapter adds the bias",
        )


def _with_head(settings: Any, model: LoadedModel, head: Mapping[str, np.ndarray], recorded: Mapping[str, Any]) -> Any:
    """Make transformers' classifier with a trained head. ``recorded``: what the snapshot says about its labels.

    Raises:
        UserError: parts that are not those of the classifier, or of other shapes.
    """
    names = head_names(model.layout)
    settings.num_labels = len(head["head.weight"])
    labels = recorded.get("labels")
    if isinstance(labels, Sequence) and len(labels) == settings.num_labels:
        settings.id2label = dict(enumerate(map(str, labels)))
        settings.label2id = {label: number for number, label in settings.id2label.items()}
    settings.problem_type = "regression" if recorded.get("kind") == "regression" else "single_label_classification"
    if settings.pad_token_id is None and model.tokenizer is not None:
        settings.pad_token_id = model.tokenizer.pad_token_id  # by which decoders find an example's last token
    whole = AutoModelForSequenceClassification.from_config(settings, dtype=torch.float32)
    _fill(getattr(whole, whole.base_model_prefix), model)
    own = dict(whole.named_parameters())
    wanted = {part for part, name in names.items() if name in own}
    if set(head) != wanted:
        raise UserError(
            f"got a head of {', '.join(sorted(head))}",
            f"{', '.join(sorted(wanted))}, as transformers' {model.layout.model_type} classifier has",
        )
    for part, value in head.items():
        _set(own[names[part]], part, value)
    return whole


def _with_lm_head(settings: Any, model: LoadedModel) -> Any:
    """Make transformers' language model, whose head is that of the base."""
    head = LmHead.of(model)
    settings.tie_word_embeddings = model.output is None
    whole = AutoModelForCausalLM.from_config(settings, dtype=torch.float32)
    _fill(getattr(whole, whole.base_model_prefix), model)
    if model.output is None:
        whole.tie_weights()
    else:
        output = whole.get_output_embeddings()
        output.weight.copy_(head.weight)
        if head.bias is not None:
            output.bias.copy_(head.bias)
    return whole


def _set(parameter: Any, part: str, value: np.ndarray) -> None:
    """Copy a part of a snapshot into a parameter. Raises UserError where it has another shape."""
    if value.shape != tuple(parameter.shape):
        raise UserError(f"got {part} of shape {value.shape}", f"{tuple(parameter.shape)}, as the model has it")
    parameter.copy_(torch.tensor(value))
