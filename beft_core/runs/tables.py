"""Search for the tables of the user's own on which snapshots of this home were trained.

A snapshot names no file: it may come from a stranger, whose path is not to be opened. A run of this home does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from beft_core.config import TABLE_FIELDS
from beft_core.errors import UserError
from beft_core.files.home import home
from beft_core.runs.run import Run, find_in
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.registry import TASKS
from beft_core.tasks.sources.user_files import OwnTable


def recorded_table(snapshot: Path, task: str) -> OwnTable | None:
    """Find the table that a snapshot was trained on, by the folder of the run that it lies in.

    ``snapshot``: its file. ``task``: the task, as the snapshot calls it. None for files outside of the runs of this
    home, and for runs of other tasks or with damaged configurations.
    """
    run = _run_of(snapshot)
    if run is None:
        return None
    try:
        _, fields = run.config()
        table = _table_in(fields, task)
        return table if table is not None and table.task == task else None
    except UserError:
        return None


def recorded_tables(snapshots: Sequence[Snapshot], files: Sequence[Path | None]) -> dict[str, OwnTable]:
    """Find the tables that snapshots were trained on, by task, as :func:`recorded_table` finds each.

    ``files``: the file of each snapshot, None for one that is in memory. The first that has a task counts.
    """
    found: dict[str, OwnTable] = {}
    for snapshot, file in zip(snapshots, files, strict=True):
        for task in snapshot.meta.heads:
            if file is not None and task not in TASKS and (table := recorded_table(file, task)) is not None:
                found.setdefault(task, table)
    return found


def _run_of(file: Path) -> Run | None:
    runs = (home() / "runs").resolve()
    file = file.resolve()
    if not file.is_relative_to(runs) or file.parent == runs:
        return None
    try:
        return find_in(runs, file.relative_to(runs).parts[0])
    except UserError:
        return None


def _table_in(fields: Mapping[str, Any], task: str) -> OwnTable | None:
    """Find the table in the configuration of a single fine-tune, or of a sweep, which may have several. Raises
    UserError.
    """
    tables = fields.get("tables")
    if isinstance(tables, Mapping):
        return OwnTable.from_dict(tables[task]) if isinstance(tables.get(task), Mapping) else None
    if fields.get("train_file") is None:
        return None
    return OwnTable.from_dict({name: fields.get(field) for name, field in TABLE_FIELDS.items()})
