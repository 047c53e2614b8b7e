"""Exchange between snapshots and loaded models of transformers: biases from two of them, and back onto one."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from beft_core.architectures.layout import Layout
from beft_core.architectures.resolve import layout_for
from beft_core.errors import UserError
from beft_core.exchange.checkpoints import imported, without_rounding
from beft_core.exchange.peft_adapter import head_names
from beft_core.models.biases import LoadedModel, add_zero_bias, get_bias, read_biases, weights_of, write_biases
from beft_core.models.in_memory import backbone_of, origin
from beft_core.snapshots.changed_weights import refuse_changed_weights
from beft_core.snapshots.meta import NO_BIASES
from beft_core.snapshots.snapshot import Key, ModelInfo, Snapshot, SnapshotMeta, fingerprint
from beft_core.training.methods.bias_bank import outside_modules
from beft_core.training.preconditions import head_of

_NARROW = {torch.float16: "F16", torch.bfloat16: "BF16"}
"""Types of tensors that hold fewer digits than float32, by the names that files have for them."""


def snapshot_from_models(before: object, after: object, task: str, details: Mapping[str, Any]) -> Snapshot:
    """Make a snapshot of the biases of two loaded models; ``details``: fields of the metadata.

    Raises UserError: no models of transformers, of different types or sizes, or unknown fields.
    """
    fields = [f.name for f in dataclasses.fields(SnapshotMeta)]
    for name in details:
        if name not in fields:
            close = difflib.get_close_matches(name, fields, n=1)
            raise UserError(f"got the keyword {name}", f"some of {', '.join(fields)}", close[0] if close else "")
    base, tuned = _loaded(before), _loaded(after)
    if base.layout.model_type != tuned.layout.model_type:
        raise UserError(
            f"got a {tuned.layout.model_type} model after a {base.layout.model_type} model", "models of one type"
        )
    pre, post = (read_biases(model.backbone, model.layout) for model in (base, tuned))
    for key, value in pre.items():
        if key not in post or post[key].shape != value.shape:
            got = "nothing" if key not in post else f"shape {post[key].shape}"
            raise UserError(f"got {got} as {'.'.join(key)} after the fine-tune", f"shape {value.shape}, as before it")
    post = without_rounding(pre, post, tuned.layout, lambda slot: _NARROW.get(get_bias(tuned.backbone, slot).dtype))
    pre |= {key: np.zeros_like(value) for key, value in post.items() if key not in pre}  # a bias that it added
    sources = {"base": base.id, "tuned": tuned.id}
    return imported(base.info, tuned.layout, pre, post, task, sources, **details)


def apply_snapshot(snapshot: Snapshot, model: object, head: bool | str) -> None:
    """Put the biases of a snapshot, and a task's head where one is asked for, onto a loaded model, in place.

    ``head``: True, or the name of a task. Raises UserError where anything does not fit; nothing is written then.
    """
    refuse_changed_weights(snapshot)
    loaded = _loaded(model)
    if loaded.info.fingerprint == NO_BIASES and not loaded.info.shares_base(snapshot.meta.model):
        raise UserError(
            f"got a {type(model).__name__} whose weights are not those that the fine-tune started from",
            f"the base model of the snapshot, {snapshot.meta.model.id}",
            "loading that one",
        )
    added = [key for key in snapshot.keys() if key[1] not in loaded.layout.terms]  # noqa: SIM118
    layout = loaded.layout.with_added(term for _, term in added)
    for key in snapshot.keys():  # noqa: SIM118 - a method of Snapshot, not of a dict
        _require_base(snapshot, loaded, key, layout, new=key in added)
    parts = _head(snapshot, loaded, model, _task(snapshot, head)) if head else []
    for _, term in added:
        add_zero_bias(loaded, term)
    write_biases(loaded, {key: snapshot.post(*key) for key in snapshot.keys()})  # noqa: SIM118
    with torch.no_grad():
        for parameter, value in parts:
            parameter.copy_(torch.tensor(value).to(parameter))
    labels = snapshot.meta.heads.get(_task(snapshot, head), {}).get("labels") if head else None
    if labels:
        names: Any = model
        names.config.id2label = dict(enumerate(labels))
        names.config.label2id = {label: i for i, label in enumerate(labels)}


def _task(snapshot: Snapshot, head: bool | str) -> str:
    """Name the task whose head is asked for: the named one, the only one, or the one that was trained."""
    heads = sorted(snapshot.meta.heads)
    return head if isinstance(head, str) else heads[0] if len(heads) == 1 else snapshot.meta.task


def _loaded(model: object) -> LoadedModel:
    """Wrap a model, as it is, with the table of its biases, including those that were added to the architecture."""
    backbone = backbone_of(model)
    layout = layout_for(backbone.config)
    there = [
        term
        for term in dict.fromkeys(slot.term for slot in layout.addable)
        if all(
            getattr(backbone.get_submodule(slot.module), "bias", None) is not None
            for slot in layout.addable
            if slot.term == term
        )
    ]
    found = origin(backbone)
    info = ModelInfo(
        found.id,
        found.revision,
        layout.model_type,
        layout.layers,
        layout.hidden_size,
        fingerprint(read_biases(backbone, layout)),
        folder=found.folder,
        weights=weights_of(backbone, layout),
    )
    return LoadedModel(backbone, None, layout.with_added(there), backbone.config, info)


def _require_base(snapshot: Snapshot, loaded: LoadedModel, key: Key, layout: Layout, new: bool) -> None:
    """Raise UserError unless a term of the model is what the fine-tune started from, or ended at.

    A model in half precision holds rounded values: it is compared with what its type makes of the snapshot's.
    """
    stack, term = key
    pre, post = snapshot.pre(*key), snapshot.post(*key)
    slots = layout.slots_of(term)
    shape = (len(slots), slots[0].width)
    if stack != layout.stack or pre.shape != shape:
        raise UserError(
            f"got {stack}.{term} of shape {pre.shape}", f"{layout.stack}.{term} of shape {shape}, as the model has it"
        )
    if new:
        fits = not pre.any()
    else:
        now = [get_bias(loaded.backbone, slot) for slot in slots]
        fits = any(
            all(torch.equal(torch.tensor(row).to(value), value) for row, value in zip(rows, now, strict=True))
            for rows in (pre, post)
        )
    if not fits:
        meta = snapshot.meta.model
        raise UserError(
            f"got a model whose {term} is not what the fine-tune started from",
            f"the base model of the snapshot, {meta.id}",
            "loading that one",
        )


def _head(snapshot: Snapshot, loaded: LoadedModel, model: Any, name: str) -> list[tuple[nn.Parameter, np.ndarray]]:
    """List (parameter, value) of everything but bias terms that a task needs. Raises UserError where one does
    not fit.
    """
    layout = loaded.layout
    values = dict(head_of(snapshot, name))
    found: list[tuple[str, Any, np.ndarray]] = []
    outside = values.pop("outside.bias", None)
    if outside is not None:
        modules: list[Any] = list(outside_modules(loaded))
        ends = np.cumsum([len(module.bias) for module in modules])
        if not modules or ends[-1] != len(outside):
            raise UserError(f"got {len(outside)} biases outside of the layers", "as many as the model has")
        pieces = np.split(outside, ends[:-1])
        found += [("outside", module.bias, piece) for module, piece in zip(modules, pieces, strict=True)]
    pooler = values.pop("pooler.bias", None)
    if pooler is not None:
        assert layout.head.pooler_module is not None
        try:
            module: Any = loaded.backbone.get_submodule(layout.head.pooler_module)
        except AttributeError:
            module = None
        found.append(("pooler.bias", getattr(module, "bias", None), pooler))
    names = head_names(layout)
    parameters = dict(model.named_parameters())
    found += [(part, parameters.get(names.get(part, "")), value) for part, value in values.items()]
    for part, parameter, value in found:
        if parameter is None or tuple(parameter.shape) != value.shape:
            got = f"has a {part} of shape {tuple(parameter.shape)}" if parameter is not None else f"has no {part}"
            labels = values["head.weight"].shape[0]
            raise UserError(
                f"got a {type(model).__name__}, which {got}",
                f"shape {value.shape}, as the head of {name} has it",
                f"AutoModelForSequenceClassification with num_labels={labels}",
            )
    return [(parameter, value) for _, parameter, value in found]
