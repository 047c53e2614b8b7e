"""Reading, scoring and comparing snapshots: the functions of the library that need no model. None imports torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.files.paths import user_path
from beft_core.library.comparison import Comparison, named
from beft_core.library.scores import Scores
from beft_core.library.snapshot import Snapshot, snapshot_of
from beft_core.library.words import in_python
from beft_core.snapshots import snapshot as files

Source = str | os.PathLike[str] | files.Snapshot
"""Snapshot in memory, or the path of its file."""


@in_python
def load_snapshot(path: str | os.PathLike[str]) -> Snapshot:
    """Open a snapshot file, ``*.beft.safetensors``.

    Raises:
        UserError: anything that is not a well-formed snapshot, naming what is wrong and what was expected.
    """
    return snapshot_of(path)


@in_python
def score(snapshot: Source) -> Scores:
    """Score every bias term of a snapshot by every approach that its tensors allow, and select one of q, k and v.

    Raises:
        UserError: no snapshot, or one without bias terms or with values that are not finite.
    """
    return snapshot_of(snapshot).scores()


@in_python
def compare(*snapshots: Source | Sequence[Source], names: Sequence[str] | None = None) -> Comparison:
    """Compare snapshots: their scores, the angles between what they learnt, how their rankings agree.

    ``snapshots``: two or more, in memory or paths, one by one or as a list. ``names``: what to call them.

    Raises:
        UserError: fewer than two, or one that cannot be read or scored.
    """
    several = several_of(snapshots)
    if len(several) < 2:
        raise UserError(f"got {len(several)} snapshot(s) to compare", "two or more")
    comparison = Comparison(several, named(several, names))
    _ = comparison.tables, comparison.moves  # what is wrong with a file is told now
    return comparison


def several_of(given: Sequence[Source | Sequence[Source]]) -> tuple[Snapshot, ...]:
    """Return the snapshots that somebody names one by one or as a list. Raises UserError."""
    return tuple(map(snapshot_of, _one_by_one(given)))


def paths_of(given: Sequence[Source | Sequence[Source]]) -> list[Path | None]:
    """Return the paths of the same snapshots, None for those in memory. Raises UserError."""
    return [user_path(one, "the file") if isinstance(one, str | os.PathLike) else None for one in _one_by_one(given)]


def _one_by_one(given: Sequence[Source | Sequence[Source]]) -> list[Any]:
    items: list[Any] = []
    for one in given:
        items += one if isinstance(one, list | tuple) else [one]
    return items
