"""Similarity of several fine-tunes of one base, two by two: cosines, angles and sign conflicts; numpy only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from beft_core.errors import UserError
from beft_core.merging.shared_terms import changes, shared_keys
from beft_core.scores.formulas import geometry
from beft_core.snapshots.snapshot import Key, Snapshot


@dataclass(frozen=True)
class Similarity:
    """Likeness of vectors of several snapshots, two by two; conventions for zero vectors as in `Movement.geometry`."""

    cosine: np.ndarray
    """Cosines [tasks, tasks], over all layers and terms as one vector."""
    cosine_per_layer: dict[Key, np.ndarray]
    """Cosines [layers, tasks, tasks] for each (stack, term)."""

    @property
    def angle_degrees(self) -> np.ndarray:
        """Angles [tasks, tasks], over all layers and terms as one vector."""
        return np.degrees(np.arccos(self.cosine))

    @property
    def angle_degrees_per_layer(self) -> dict[Key, np.ndarray]:
        """Angles [layers, tasks, tasks] for each (stack, term)."""
        return {key: np.degrees(np.arccos(cosine)) for key, cosine in self.cosine_per_layer.items()}


@dataclass(frozen=True)
class Comparison:
    """Comparison of several fine-tunes of one base, two by two."""

    labels: tuple[str, ...]
    """Labels of the snapshots: the task, with the seed or a number where that is not enough."""
    differences: Similarity
    """Similarity of ``post - pre``, what the tasks taught and merging adds up."""
    values: Similarity
    """Similarity of ``post``: as the paper words its 0.18, or 79.5 degrees, between b_v "after fine-tuning on SST-2 and
    RTE". As all share ``pre``, it is high wherever little moved.
    """
    sign_conflicts: np.ndarray
    """Share [tasks, tasks], of the elements that both moved, of those that they moved in opposite directions."""
    sign_conflicts_per_layer: dict[Key, np.ndarray]
    """Sign conflicts [layers, tasks, tasks] for each (stack, term)."""


def compare(snapshots: Sequence[Snapshot], *, terms: Iterable[str] | None = None) -> Comparison:
    """Compare fine-tunes by cosines, angles and sign conflicts, overall and per layer; trained terms only.

    Raises:
        UserError: as `shared_keys`, or fewer than two snapshots.
    """
    if len(snapshots) < 2:
        raise UserError(f"{len(snapshots)} snapshot(s) to compare", "at least 2")
    keys = shared_keys(snapshots, terms)
    deltas = {key: changes(snapshots, key) for key in keys}
    posts = {key: np.stack([s.post(*key) for s in snapshots]) for key in keys}
    return Comparison(
        _labels(snapshots),
        _similarity(deltas),
        _similarity(posts),
        _conflicts(_as_one(deltas))[0],
        {key: _conflicts(delta) for key, delta in deltas.items()},
    )


def _as_one(arrays: dict[Key, np.ndarray]) -> np.ndarray:
    """Join all layers and terms as one layer: [tasks, 1, elements]."""
    return np.concatenate([array.reshape(len(array), 1, -1) for array in arrays.values()], axis=2)


def _similarity(arrays: dict[Key, np.ndarray]) -> Similarity:
    return Similarity(_cosines(_as_one(arrays))[0], {key: _cosines(array) for key, array in arrays.items()})


def _cosines(vectors: np.ndarray) -> np.ndarray:
    """Cosines of changes: [tasks, layers, width] -> [layers, tasks, tasks]"""
    return np.stack([np.stack([geometry(a, b)["cosine"] for b in vectors], axis=1) for a in vectors], axis=1)


def _conflicts(deltas: np.ndarray) -> np.ndarray:
    """Sign conflicts of changes: [tasks, layers, width] -> [layers, tasks, tasks]"""
    signs = np.sign(deltas).transpose(1, 0, 2)  # [layers, tasks, width]
    products = signs[:, :, None] * signs[:, None]
    return (products < 0).sum(axis=3) / np.maximum((products != 0).sum(axis=3), 1)


def _labels(snapshots: Sequence[Snapshot]) -> tuple[str, ...]:
    labels = [snapshot.meta.task for snapshot in snapshots]
    if len(set(labels)) < len(labels):
        labels = [f"{s.meta.task}, seed {s.meta.seed}" for s in snapshots]
    if len(set(labels)) < len(labels):
        labels = [f"{number}: {label}" for number, label in enumerate(labels, 1)]
    return tuple(labels)
