"""Heads of snapshots: which of them fine-tunes share, what their classes are called, and whether they read pairs.

A prompted task has no head: the model's own language-model head answers its prompt, which is found here, too.
"""

from __future__ import annotations

from collections.abc import Sequence

from beft_core.errors import UserError
from beft_core.snapshots.changed_weights import refuse_changed_weights
from beft_core.snapshots.meta import of_two_bases
from beft_core.snapshots.snapshot import Snapshot, SnapshotMeta
from beft_core.tasks.own_prompts import own_prompt_of
from beft_core.tasks.own_table import columns_of
from beft_core.tasks.prompts.spec import PromptSpec
from beft_core.tasks.registry import TASKS
from beft_core.tasks.spec import TaskSpec


def can_answer(snapshot: Snapshot) -> list[str]:
    """List the tasks that a snapshot can be asked about: those whose head it holds, and those whose prompt is known."""
    return [
        task
        for task in snapshot.meta.heads
        if f"extra.{task}.head.weight" in snapshot.extra or prompted_task(snapshot.meta, task) is not None
    ]


def prompted_task(meta: SnapshotMeta, task: str) -> TaskSpec | None:
    """Find the prompted task of a snapshot, in the registry or as it records a prompt of the user's own; None of a task
    with a head, and where nobody knows the prompt.
    """
    if not meta.is_prompted(task):
        return None
    if task in TASKS:
        return TASKS[task]
    try:
        own = own_prompt_of(meta.heads[task])
    except UserError:  # of a stranger's file: no prompt that could be asked
        return None
    return None if own is None else own.task(task, task, task)


def prompt_of(meta: SnapshotMeta, task: str) -> PromptSpec | None:
    """Find the prompt of a task; None of a task with a head."""
    spec = prompted_task(meta, task)
    return None if spec is None else spec.prompt


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


def of_different_tasks(snapshots: Sequence[Snapshot]) -> bool:
    """Say whether all snapshots can be asked, but there is no task that all can be asked about."""
    heads = [set(can_answer(snapshot)) for snapshot in snapshots]
    return bool(heads) and all(heads) and not set.intersection(*heads)


def own_task(snapshot: Snapshot, task: str | None = None) -> str:
    """Find the task by whose head one snapshot answers: the only one that it holds, else the one that it was trained
    on; or check that it holds that of ``task``.

    Raises:
        UserError: it cannot be asked about the task, or has several of which none is its own, as a merge may have.
    """
    held = can_answer(snapshot)
    if task is None and len(held) != 1 and snapshot.meta.task in held:
        return snapshot.meta.task
    if (task is None and len(held) != 1) or (task is not None and task not in held):
        got = f"{len(held)} heads" if task is None else f"no head for {task[:80]}"
        raise UserError(
            f"{snapshot.source}: got {got}", f"one of: {', '.join(held) or 'a snapshot with a head'}", "--task NAME"
        )
    return held[0] if task is None else task


def require_one_base(snapshots: Sequence[Snapshot]) -> None:
    """Check that snapshots can answer together: fine-tunes of the biases of one base model.

    Raises:
        UserError: one of them is of another model, or its weights changed too, as an adapter's do.
    """
    for snapshot in snapshots:
        try:
            refuse_changed_weights(snapshot)
        except UserError as error:
            alone = f"a call for it alone, or {error.try_}" if error.try_ else ""
            raise UserError(f"{snapshot.source}: {error.got}", error.expected, alone) from None
    if two := of_two_bases([snapshot.meta.model for snapshot in snapshots]):
        one, other = (snapshots[number] for number in two)
        raise UserError(
            f"got {other.source}, a fine-tune of {other.meta.model.id}, beside {one.source}, one of "
            f"{one.meta.model.id} with other {one.meta.model.told_by}",
            "fine-tunes of one base model",
            "a call for each base model",
        )


def labels_of(meta: SnapshotMeta, task: str, outputs: int) -> tuple[str, ...] | None:
    """Name the classes of a head, by number where nothing says more; None: it predicts a number."""
    head = meta.heads.get(task, {})
    if head.get("kind") == "regression":
        return None
    return tuple(head.get("labels") or map(str, range(outputs)))


def reads_pairs(meta: SnapshotMeta, task: str) -> bool | None:
    """Say whether a head was trained on pairs of texts, or a prompt has two columns; None where nothing says it."""
    if (prompt := prompt_of(meta, task)) is not None:
        return len(prompt.columns) == 2
    if task in TASKS:
        return TASKS[task].text_pair is not None
    columns = columns_of(meta.heads.get(task, {}))
    return None if columns is None else columns.text_pair is not None
