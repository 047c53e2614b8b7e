"""Merges of a sweep's fine-tunes: ``merges.json`` in its folder, from which Table 3 is made.

A JSON list of objects ``{"tasks": ["sst2", "rte"], "seed": 0, "term": "v", "method": "mean", "cosine": 0.18,
"angle": 79.5, "rows": {"base model": {"sst2": 0.489, ...}, LABEL: {...}, "merged": {...}}, "metrics": {"sst2":
"accuracy", ...}}``. ``rows``: base model, one for each task's fine-tune in the order of ``tasks``, merged; metrics as
fractions, null where a score was not finite. ``cosine`` and ``angle`` (degrees) are between the biases of the first two
after their fine-tunes, as the paper words it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.files.safe_io import parse_json

NAME = "merges.json"
BASE, MERGED = "base model", "merged"
"""Names of the first and the last row of a merge."""
_LIMIT = 16 * 2**20
"""Most bytes of ``merges.json``."""


@dataclass(frozen=True)
class Merge:
    """Merge of fine-tunes of one term on two tasks or more, and what base model, sources and merge are worth."""

    tasks: tuple[str, ...]
    seed: int
    term: str
    method: str
    """Method of merging, a key of ``beft_core.merging.methods.METHODS``."""
    cosine: float | None
    """Cosine between the biases of the first two fine-tunes, over all layers."""
    angle: float | None
    """Angle between the biases of the first two fine-tunes, over all layers, in degrees."""
    rows: Mapping[str, Mapping[str, float | None]]
    """Metrics, as fractions, by row (base model, each task for the fine-tune on it, merged) and task."""
    metrics: Mapping[str, str]
    """Name of the metric of each task."""

    def value(self, row: str, task: str) -> float | None:
        """Get a value in percent; None where it is not known."""
        value = self.rows.get(row, {}).get(task)
        return None if value is None else 100 * value


def read_merges(folder: Path) -> tuple[Merge, ...] | None:
    """Read the merges in a sweep's folder; None where there is no such file.

    Raises:
        UserError: not readable, or not such a list, naming the entry.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _LIMIT:
            raise UserError(f"{NAME}: {path.stat().st_size} bytes", f"at most {_LIMIT}")
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {NAME}: {error.strerror}", "a readable JSON file") from None
    # The strict reader takes an object, and this file is a list.
    entries = parse_json(b'{"merges": ' + text + b"}", NAME)["merges"]
    if not isinstance(entries, list):
        raise UserError(f"{NAME}: a JSON {type(entries).__name__}", "a list of merges")
    return tuple(_merge(entry, number) for number, entry in enumerate(entries, 1))


def _merge(entry: Any, number: int) -> Merge:
    try:
        tasks = tuple(str(task) for task in entry["tasks"])
        labels = [label for label in entry["rows"] if label not in (BASE, MERGED)]
        if len(set(tasks)) < 2 or len(labels) != len(tasks) or not {BASE, MERGED} <= set(entry["rows"]):
            raise ValueError("rows that are not base model, one for each of two tasks or more, and merged")
        # Labels are tasks, unless two snapshots would be called the same.
        names = dict(zip(labels, labels if set(labels) == set(tasks) else tasks, strict=True))
        rows = {
            names.get(label, label): {str(task): _number(value) for task, value in values.items()}
            for label, values in entry["rows"].items()
        }
        return Merge(
            tasks,
            int(entry["seed"]),
            str(entry["term"]),
            str(entry["method"]),
            _number(entry["cosine"]),
            _number(entry["angle"]),
            rows,
            {str(task): str(name) for task, name in entry.get("metrics", {}).items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{NAME}, entry {number}: {type(error).__name__} {error}",
            "tasks, seed, term, method, cosine, angle and rows",
        ) from None


def _number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r}, which is no number")
    return float(value)
