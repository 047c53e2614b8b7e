"""Validation examples on which a snapshot's head is scored, wherever they are; without a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from beft_core.errors import UserError
from beft_core.presets import INPUTS
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.examples import TaskData
from beft_core.tasks.load import load_task
from beft_core.tasks.registry import TASKS
from beft_core.tasks.sources.user_files import scored_from


def scored_examples(
    snapshot: Snapshot, task: str, limit: int | None = None, table: Mapping[str, Any] | None = None
) -> TaskData:
    """Load the validation examples of a head: of a task of the registry, or of the user's own ``table``.

    ``limit``: most examples of each set, always the same ones. ``table``: fields of the table that the head was trained
    on, as :func:`beft_core.runs.tables.recorded_table` finds it.

    Raises:
        UserError: the examples are not here, or a head of a table whose file nobody names.
    """
    head = snapshot.meta.heads.get(task, {})
    if task in TASKS:
        recorded = head.get("inputs")
        inputs = recorded if isinstance(recorded, str) and recorded in INPUTS else "lab"
        return load_task(task, inputs=inputs).limited(limit)
    if table is None:
        raise UserError(f"got the head {task}, whose table is not known here", "a run of this machine, or a task")
    return scored_from(table, task, head).limited(limit)
