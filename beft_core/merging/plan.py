"""Plan of an evaluation: every set of biases that is put on the base model, each once."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from beft_core.merging.config import MergeConfig
from beft_core.merging.curve import LINES, position, settings_at
from beft_core.merging.merge import merge
from beft_core.merging.methods import METHODS
from beft_core.merging.plane import at_point, grid
from beft_core.merging.result import BASE, MERGED
from beft_core.merging.similarity import compare
from beft_core.snapshots.snapshot import Key, Snapshot
from beft_core.tasks.registry import TASKS

Values = Mapping[Key, np.ndarray]
"""Values of the bias terms to put on the base model: float32 [layers, width] each."""


@dataclass(frozen=True)
class Plan:
    """Plan of the sets of biases that are put on the base model, each once, and of where their scores belong."""

    merged: Snapshot
    rows: dict[str, str]
    """Keys of the biases of each row of the table: base model, each source by its label, merged."""
    line: list[tuple[float, str]]
    """Points of the line in order: (position, key of the biases)."""
    plane: list[tuple[float, float, str]]
    """Points of the plane of two changes: (share of the first, share of the second, key of the biases)."""
    values: dict[str, Values]
    """Biases by key, in the order in which they are scored. The ends of a line are often sources."""
    position: float | None
    """Position of the merge itself on the line; None where it has none."""


def plan(snapshots: Sequence[Snapshot], config: MergeConfig) -> Plan:
    """Plan what has to be scored.

    Raises:
        UserError: as :func:`beft_core.merging.merge.merge`; different bases are refused with the two names.
    """
    labels = compare(snapshots, terms=config.terms).labels
    merged = merge(snapshots, config.method, terms=config.terms, **config.settings)
    keys = merged.keys()
    values: dict[str, Values] = {}

    def add(biases: Values) -> str:
        digest = hashlib.sha256(b"".join(biases[key].tobytes() for key in keys)).hexdigest()
        values.setdefault(digest, biases)
        return digest

    rows = {BASE: add({key: merged.pre(*key) for key in keys})}
    for label, source in zip(labels, snapshots, strict=True):
        rows[label] = add({key: source.post(*key) for key in keys})
    rows[MERGED] = add({key: merged.post(*key) for key in keys})
    settings = METHODS[config.method].settings(config.settings, len(snapshots))
    at = position(config.method, settings, len(snapshots))
    line: list[tuple[float, str]] = []
    if config.points and at is not None:
        found = LINES[config.method]
        for x in np.linspace(found.low, max(found.high, at), config.points).round(6).tolist():
            options = settings_at(config.method, settings, len(snapshots), x)
            point = merge(snapshots, found.method, terms=config.terms, **options)
            line.append((x, add({key: point.post(*key) for key in keys})))
        line = sorted({*line, (at, rows[MERGED])})
    plane: list[tuple[float, float, str]] = []
    if config.plane:
        first, second = snapshots
        for alpha, beta in grid(config.plane):
            plane.append((alpha, beta, add({key: at_point(first, second, key, alpha, beta) for key in keys})))
    return Plan(merged, rows, line, plane, values, at)


def tasks_of(snapshots: Sequence[Snapshot], tables: Collection[str] = ()) -> tuple[list[str], dict[str, str]]:
    """Tasks whose head some snapshot has and that can be scored, and those that cannot with the reason.

    ``tables``: tasks of the user's own whose tables are at hand.
    """
    heads = dict.fromkeys(task for snapshot in snapshots for task in snapshot.meta.heads)
    known = [task for task in heads if task in TASKS or task in tables]
    how = "a table of your own: name a file to score it on, --file {}=FILE"
    return known, {task: how.format(task) for task in heads if task not in known}
