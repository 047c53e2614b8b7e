"""Functions that need no model: reading, scoring, comparing and merging snapshots. None of them imports torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from beft_core.cli.parser.arguments import words
from beft_core.errors import UserError
from beft_core.extras import require_training
from beft_core.library.arguments import listed
from beft_core.library.comparison import Comparison, named
from beft_core.library.scores import Scores
from beft_core.library.snapshot import Snapshot, snapshot_of
from beft_core.library.words import in_python
from beft_core.merging import merge as merging
from beft_core.merging.methods import METHODS
from beft_core.merging.shared_terms import shared_keys
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
    several = _several(snapshots)
    if len(several) < 2:
        raise UserError(f"got {len(several)} snapshot(s) to compare", "two or more")
    comparison = Comparison(several, named(several, names))
    _ = comparison.tables, comparison.moves  # what is wrong with a file is told now
    return comparison


@in_python
def merge(
    *snapshots: Source | Sequence[Source],
    method: str = "mean",
    terms: str | Iterable[str] | None = None,
    **parameters: Any,
) -> Snapshot:
    """Merge fine-tunes of one base model into one snapshot, which keeps the head of each task.

    ``snapshots``: two or more, in memory or paths, one by one or as a list. ``method``: a key of
    `beft_core.merging.methods.METHODS`: mean, weighted, task_arithmetic, ties, dare, slerp, fisher. ``terms``: which of
    the trained terms to merge; None: all. ``parameters``: those of the method, such as ``density=0.5``.

    Where the method weighs by the Fisher information and a snapshot lacks it, it is measured, which takes the base
    model and the task's data; nothing else here needs torch.

    Raises:
        UserError: an unknown method or parameter, snapshots of different bases, or without a common term.
    """
    several = _several(snapshots)
    only = None if terms is None else words(listed("terms", terms)) or None
    if not isinstance(method, str):
        raise UserError(f"got method = {str(method)[:80]!r}", f"one of {', '.join(METHODS)}")
    if method in METHODS and METHODS[method].needs_fisher and not all(map(merging.has_tuned_fisher, several)):
        require_training()
        shared_keys(several, only)  # what cannot be merged anyway is told before anything is measured
        from beft_core.training.fisher.of_snapshots import with_tuned_fisher

        return Snapshot.of(merging.merge(with_tuned_fisher(several), method, terms=only, **parameters))
    return Snapshot.of(merging.merge(several, method, terms=only, **parameters))


def _several(given: Sequence[Source | Sequence[Source]]) -> tuple[Snapshot, ...]:
    items: list[Any] = []
    for one in given:
        items += one if isinstance(one, list | tuple) else [one]
    return tuple(map(snapshot_of, items))
