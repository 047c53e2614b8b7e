"""Heads of snapshots: which of them fine-tunes share, what their classes are called, and whether they read pairs."""

from __future__ import annotations

from collections.abc import Sequence

from beft_core.errors import UserError
from beft_core.snapshots.snapshot import Snapshot, SnapshotMeta
from beft_core.tasks.own_table import columns_of
from beft_core.tasks.registry import TASKS


def can_answer(snapshot: Snapshot) -> list[str]:
    """List the tasks that a snapshot can be asked about: those whose head it holds."""
    return [task for task in snapshot.meta.heads if f"extra.{task}.head.weight" in snapshot.extra]


def shared_task(snapshots: Sequence[Snapshot], task: str | None = None) -> str:
    """Find the one task whose head all snapshots hold, or check that they hold that of ``task``.

    Raises:
        UserError: there is no such task, or several and none is named.
    """
    if not snapshots:
        raise UserError("got no snapshot", "one or more")
    heads = [can_answer(snapshot) for snapshot in snapshots]
    shared = [name for name in heads[0] if all(name in held for held in heads)]
    if task is not None and task not in shared:
        held = ", ".join(shared) or "; ".join(", ".join(own) or "no head" for own in heads)
        raise UserError(f"got the task {task[:80]}, whose head not every snapshot holds", f"one of: {held}")
    if task is not None:
        return task
    if len(shared) != 1:
        held = ", ".join(shared) if shared else "; ".join(", ".join(own) or "no head" for own in heads)
        raise UserError("got snapshots that share no single head", f"one of: {held}", "--task NAME")
    return shared[0]


def labels_of(meta: SnapshotMeta, task: str, outputs: int) -> tuple[str, ...] | None:
    """Name the classes of a head, by number where nothing says more; None: it predicts a number."""
    head = meta.heads.get(task, {})
    if head.get("kind") == "regression":
        return None
    return tuple(head.get("labels") or map(str, range(outputs)))


def reads_pairs(meta: SnapshotMeta, task: str) -> bool | None:
    """Say whether a head was trained on pairs of texts; None where nothing says it."""
    if task in TASKS:
        return TASKS[task].text_pair is not None
    columns = columns_of(meta.heads.get(task, {}))
    return None if columns is None else columns.text_pair is not None
