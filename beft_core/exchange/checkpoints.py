"""Snapshots from a base model and a fully fine-tuned one: how its biases changed. Only biases are read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from beft_core import __version__
from beft_core.architectures.layout import BiasSlot, Layout
from beft_core.errors import UserError
from beft_core.files.safetensors_file import as_bytes, as_float32
from beft_core.models.bias_reader import ModelWeights
from beft_core.snapshots.null_elements import ranges_of
from beft_core.snapshots.snapshot import Key, ModelInfo, Snapshot, SnapshotMeta, fingerprint
from beft_core.terms import TERM_KEYS

Source = str | os.PathLike[str]
NARROW = ("F16", "BF16")
"""Types of a file that hold fewer digits than float32."""


def extract(
    base: Source, tuned: Source, *, config: Source | None = None, task: str = "imported", **details: Any
) -> Snapshot:
    """Extract bias terms before (`base`) and after (`tuned`) a fine-tune that happened elsewhere.

    Both are a folder, a safetensors file, the index of a sharded one, "bundled" or a Hub id. `config` is a
    ``config.json``; by default the one beside the base, or else beside the tuned model. Terms of which
    any element changed count as trained; what is only rounded, because the tuned model is stored in a narrower type
    than its base, did not change. `details` are fields of `SnapshotMeta`, such as ``seed=1``.

    Raises:
        UserError: unreadable files, an unknown architecture, models without biases, or ones that do not fit each other.
    """
    before, after = ModelWeights(base), ModelWeights(tuned)
    layout = before.layout(config) or after.layout()
    if layout is None:
        files = f"{before.file.name} or {after.file.name}"
        raise UserError(f"no config.json beside {files}", "a model's config.json", "--config FILE")
    own = after.layout()
    if own is not None and own.model_type != layout.model_type:
        raise UserError(f"a {own.model_type} model tuned from a {layout.model_type} model", "models of one type")
    pre, post = before.biases(layout), after.biases(layout)
    if not pre and not post:
        raise UserError(
            f"got {before.id} and {after.id}, {layout.model_type} models without a bias term",
            "a fine-tune that changed or added biases",
            "beft train --add-bias v, which adds some of zeros and trains them",
        )
    info = model_info(before, layout, pre)
    lost = [f"{stack}.{term}" for stack, term in pre if (stack, term) not in post]
    if lost:
        raise UserError(f"{after.file.name} lacks {', '.join(lost)}, which the base has", "a fine-tune of that base")
    post = without_rounding(pre, post, layout, partial(_type_on_disk, after, layout))
    pre |= {key: np.zeros_like(array) for key, array in post.items() if key not in pre}  # a bias that it added
    return imported(info, layout, pre, post, task, {"base": before.id, "tuned": after.id}, **details)


def without_rounding(
    pre: Mapping[Key, np.ndarray],
    post: Mapping[Key, np.ndarray],
    layout: Layout,
    type_of: Callable[[BiasSlot], str | None],
) -> dict[Key, np.ndarray]:
    """Take back what only rounding changed: elements of ``post`` that are those of ``pre`` in the type of their tensor.

    A model that was saved in bfloat16 has other values than its base of float32 in every bias, trained or not, and
    scores would compare rounding. ``type_of``: name of the type of a bias after the fine-tune, as files call it.
    """
    found = {key: array.copy() for key, array in post.items()}
    for slot in (*layout.slots, *layout.addable):
        key = slot.stack, slot.term
        if key not in pre or key not in found or (dtype := type_of(slot)) not in NARROW:
            continue
        was, row = pre[key][slot.layer], found[key][slot.layer]
        with suppress(UserError):  # too large for the type, so it is not there like that
            np.copyto(row, was, where=as_float32(as_bytes(was, dtype), dtype) == row)
    return found


def _type_on_disk(weights: ModelWeights, layout: Layout, slot: BiasSlot) -> str | None:
    name = weights.find(layout.checkpoint_names(slot))
    return None if name is None else weights.info(name).dtype


def model_info(base: ModelWeights, layout: Layout, pre: Mapping[Key, np.ndarray]) -> ModelInfo:
    """Name a base model by its biases on disk; its fingerprint is over those that the architecture has.

    Raises:
        UserError: as :meth:`ModelWeights.weights_fingerprint`.
    """
    own = {key: array for key, array in pre.items() if key[1] in layout.terms}
    sizes = (layout.layers, layout.hidden_size)
    weights = base.weights_fingerprint(layout)
    return ModelInfo(base.id, base.revision, layout.model_type, *sizes, fingerprint(own), weights=weights)


def imported(
    model: ModelInfo,
    layout: Layout,
    pre: Mapping[Key, np.ndarray],
    post: Mapping[Key, np.ndarray],
    task: str,
    provenance: dict[str, Any],
    *,
    extra: Mapping[str, np.ndarray] | None = None,
    **details: Any,
) -> Snapshot:
    """Make a snapshot of mode "imported"; the terms that moved count as trained."""
    moved = {term for (stack, term), array in post.items() if not np.array_equal(array, pre[stack, term])}
    meta = SnapshotMeta(
        model=model,
        task=task,
        mode="imported",
        trained_terms=tuple(term for term in TERM_KEYS if term in moved),
        null_terms=tuple(term for term in layout.null_terms if (layout.stack, term) in pre),
        null_elements=_some_null(layout, pre),
        versions={"beft-lab": __version__, "numpy": np.__version__},
        provenance=provenance,
        **details,
    )
    return Snapshot.build(meta, pre, post, extra=extra)


def _some_null(layout: Layout, pre: Mapping[Key, np.ndarray]) -> dict[str, tuple[tuple[int, int], ...]]:
    """Null elements of the key bias by the architecture's rule alone, for no model is computed here."""
    if (layout.stack, "k") not in pre:
        return {}
    mask = layout.null_elements("k")
    return {"k": ranges_of(mask)} if mask.any() and not mask.all() else {}
