"""Merge of fine-tunes of one base model; numpy only.

The methods are those of :mod:`beft_core.merging.methods`. Heads are never averaged: the merge keeps one for each task.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from beft_core import __version__
from beft_core.errors import UserError
from beft_core.merging.methods import METHODS, Method
from beft_core.merging.shared_terms import changes, shared_keys, trained_keys
from beft_core.snapshots.changed_weights import refuse_changed_weights
from beft_core.snapshots.snapshot import Key, Snapshot
from beft_core.tasks.own_table import answers_the_same
from beft_core.terms import TERM_KEYS


def merge(
    snapshots: Sequence[Snapshot],
    method: str = "mean",
    *,
    terms: Iterable[str] | None = None,
    **parameters: Any,
) -> Snapshot:
    """Merge fine-tunes into one snapshot, whose difference from the base is made of theirs.

    Only trained terms are merged (`terms` restricts them). Every task keeps its own head and other extra
    tensors; of several snapshots of one task the first gives them.

    Raises:
        UserError: an unknown method or parameter; fewer than two snapshots or more than the method takes;
            different bases, terms or layers; one whose weights changed too; no Fisher information at the fine-tuned
            model where the method needs it.
    """
    if method not in METHODS:
        raise UserError(f"merge method {method!r}", f"one of {', '.join(METHODS)}")
    spec = METHODS[method]
    if not 2 <= len(snapshots) <= spec.max_tasks:
        expected = f"exactly 2 for {method}" if spec.max_tasks == 2 else "at least 2"
        raise UserError(f"{len(snapshots)} snapshot(s) to merge", expected)
    settings = spec.settings(parameters, len(snapshots))
    for snapshot in snapshots:
        refuse_changed_weights(snapshot)
    keys = shared_keys(snapshots, terms)
    merged = _apply(spec, snapshots, keys, settings)
    pre = {key: snapshots[0].pre(*key) for key in keys}
    post = {key: pre[key] + delta for key, delta in merged.items()}
    heads, extra = _heads(snapshots)
    first = snapshots[0].meta
    weights = next((s.meta.model.weights for s in snapshots if s.meta.model.weights is not None), None)
    meta = replace(
        first,
        model=replace(first.model, weights=weights),  # of one base, whichever of its fine-tunes records what it is
        task=" + ".join(dict.fromkeys(s.meta.task for s in snapshots))[:300],
        regime=None,
        n_train=None,
        mode="merged",
        trained_terms=tuple(term for term in TERM_KEYS if any(term == t for _, t in keys)),
        hyperparameters={"method": method, **settings, **_common_settings(snapshots)},
        seed=None,
        metric=None,
        metrics=(),
        trained_parameters=sum(array.size for array in pre.values()),
        versions={"beft-lab": __version__, "numpy": np.__version__},
        device=None,
        wall_seconds=None,
        heads=heads,
        provenance={"sources": [_origin(snapshot) for snapshot in snapshots]},
    )
    return Snapshot.build(meta, pre, post, extra=extra)


def _apply(
    spec: Method, snapshots: Sequence[Snapshot], keys: Sequence[Key], settings: dict[str, Any]
) -> dict[Key, np.ndarray]:
    """Merged differences, float64 [layers, width] each.

    All layers of all terms stand in one row per task; a method of scope "layer" sees them cut at the layers.
    """
    shapes = [snapshots[0].pre(*key).shape for key in keys]
    inputs = {"deltas": changes, "fisher": _fisher} if spec.needs_fisher else {"deltas": changes}
    rows = {
        name: np.concatenate([get(snapshots, key).reshape(len(snapshots), -1) for key in keys], axis=1)
        for name, get in inputs.items()
    }
    options = {name: value for name, value in settings.items() if name != "scope"}
    widths = [width for layers, width in shapes for _ in range(layers)]
    cuts: Any = np.cumsum(widths)[:-1] if settings.get("scope") == "layer" else []
    pieces = [np.split(array, cuts, axis=1) for array in rows.values()]
    merged = np.concatenate([spec.function(*piece, **options) for piece in zip(*pieces, strict=True)])
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    return {key: part.reshape(shape) for key, part, shape in zip(keys, np.split(merged, ends), shapes, strict=True)}


def _fisher(snapshots: Sequence[Snapshot], key: Key) -> np.ndarray:
    """Fisher information of a term in every snapshot, float64 [tasks, layers, width]."""
    arrays = []
    for snapshot in snapshots:
        array = snapshot.fisher(*key, "tuned")
        if array is None:
            before = snapshot.fisher(*key) is not None
            only = ", only the one from before its fine-tune, under a random head" if before else ""
            raise UserError(
                f"{snapshot.source} has no Fisher information at the fine-tuned model{only}",
                "snapshots of beft train --fisher-tuned",
                "beft merge --method fisher, which measures it where model and data are, or another method",
            )
        arrays.append(array.astype(np.float64))
    return np.stack(arrays)


def has_tuned_fisher(snapshot: Snapshot) -> bool:
    """Whether a snapshot holds what a Fisher average weighs by, for every term that it trained."""
    return all(snapshot.fisher(*key, "tuned") is not None for key in trained_keys(snapshot, None))


def _common_settings(snapshots: Sequence[Snapshot]) -> dict[str, Any]:
    """Settings that an evaluation of the merge must repeat, where all sources agree on them; of token limits that
    differ the largest, beside which each head has its own.
    """
    tables = [snapshot.meta.hyperparameters for snapshot in snapshots]
    common = {
        name: tables[0][name]
        for name in ("max_length", "add_bias", "rewrite_scale")
        if all(name in table and table[name] == tables[0][name] for table in tables)
    }
    lengths = [table.get("max_length") for table in tables]
    return common | ({"max_length": max(known)} if (known := [n for n in lengths if type(n) is int]) else {})


def _heads(snapshots: Sequence[Snapshot]) -> tuple[dict[str, dict[str, Any]], dict[str, np.ndarray]]:
    """Heads and extra tensors of every task, from the first snapshot that has them."""
    heads: dict[str, dict[str, Any]] = {}
    extra: dict[str, np.ndarray] = {}
    lengths = [snapshot.meta.hyperparameters.get("max_length") for snapshot in snapshots]
    for snapshot, length in zip(snapshots, lengths, strict=True):
        for task, head in snapshot.meta.heads.items():
            if task in heads and not answers_the_same(heads[task], head):
                raise UserError(
                    f"got two heads called {task} that answer different questions",
                    "a name for each task",
                    "beft train --name NAME for one of them",
                )
            if task not in heads:
                heads[task] = head if len(set(lengths)) == 1 else {"max_length": length, **head}
                extra |= {n: a for n, a in snapshot.extra.items() if n.startswith(f"extra.{task}.")}
    return heads, extra


def _origin(snapshot: Snapshot) -> dict[str, Any]:
    """Facts that a reader of a merge wants to know of a source; only the file's name, never its folders."""
    meta = snapshot.meta
    return {
        "file": Path(snapshot.source).name,
        "task": meta.task,
        "mode": meta.mode,
        "regime": meta.regime,
        "n_train": meta.n_train,
        "seed": meta.seed,
    }
