"""Start of a run of any kind, and of one again that has ended: the one door for pages and commands."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from beft_core.errors import UserError
from beft_core.execution.executors import executor_named, executor_of
from beft_core.extras import require_training
from beft_core.files.locks import hold, holder
from beft_core.runs.kinds import KINDS
from beft_core.runs.run import Run
from beft_core.snapshots.snapshot import Snapshot, write_snapshot
from beft_core.sweeps.rows import count_lacking_memory
from beft_core.sweeps.table import read_table

LAST_SECONDS = 5.0
"""Seconds that a worker may take from its final report to its end."""


class Configuration(Protocol):
    """Interface of the configuration of any kind of runs."""

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values, by name."""


def launch(
    kind: str,
    config: Configuration,
    root: Path | None = None,
    snapshots: Mapping[str, Snapshot] = MappingProxyType({}),
    executor: str = "local",
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> Run:
    """Create a run of a kind and start its worker.

    Args:
        kind: a key of :data:`beft_core.runs.kinds.KINDS`.
        config: the configuration of that kind.
        root: the home folder; None: that of the environment.
        snapshots: what the run works on, by the names of their copies in its folder.
        executor: a key of :data:`beft_core.runs.status.EXECUTORS`.
        settings: what only that executor knows, such as a cluster's partition.

    Raises:
        UserError: the home folder cannot be written, the executor has no such device or setting, PyTorch is missing,
            or the worker does not start.
    """
    require_training()
    fields = config.to_dict()
    place = executor_named(executor)
    if kind in KINDS and (device := KINDS[kind].device(fields)) not in place.devices():
        raise UserError(f"got --device {device}", f"one of {', '.join(place.devices())}", "--device auto")
    run = Run.create(kind, fields, root, executor)
    with _alone(run):
        try:
            place.configure(run, dict(settings))
            for name, snapshot in snapshots.items():
                write_snapshot(run.path / name, snapshot)
        except UserError:
            shutil.rmtree(run.path, ignore_errors=True)
            raise
        start_worker(run)
    return run


def resume(run: Run) -> None:
    """Start the worker of an ended run again; it goes on from its checkpoint if there is one. Of those that are done
    only one is started again that :func:`has_more_to_try`.

    Raises:
        UserError: the run is still active or being started (by whom and since when), is done, or its configuration is
            damaged; or PyTorch is missing.
    """
    require_training()
    with _alone(run):
        _must_be_over(run, has_more_to_try)
        run.config()
        run.uncancel()
        run.requeue()
        start_worker(run)


def start_over(run: Run) -> None:
    """Start the worker of an ended run again, from the beginning: its checkpoints are put aside, not deleted.

    Fine-tunes of a sweep that are finished stay so.

    Raises:
        UserError: as :func:`resume`, or the folder cannot be written.
    """
    require_training()
    with _alone(run):
        _must_be_over(run)
        run.config()
        for path in [path for pattern in run.kind.checkpoints for path in run.path.glob(pattern)]:
            with suppress(FileNotFoundError):
                path.replace(path.with_name(f"unusable-{path.name}"))
        run.uncancel()
        run.requeue()
        start_worker(run)


def _alone(run: Run) -> AbstractContextManager[None]:
    """Hold a run while its worker is started: two that resume it at once would start two."""
    return hold(run.starting, f"run {run.id}, which is just being started,", "again in a few seconds")


def has_more_to_try(run: Run) -> bool:
    """Say whether a sweep has fine-tunes for which memory ran out: they are tried again when it is started again."""
    if not run.kind.is_shared:
        return False
    try:
        return count_lacking_memory(read_table(run.sweep)) > 0
    except UserError:
        return False  # there is none yet, or it is damaged


def _must_be_over(run: Run, unless: Callable[[Run], bool] = lambda run: False) -> None:
    """Raise UserError unless the run has ended otherwise than by being done. ``unless``: says whether one that is done
    may be started again.
    """
    deadline = time.monotonic() + LAST_SECONDS
    while (worker := holder(run.working)) is not None and not run.status().active and time.monotonic() < deadline:
        time.sleep(0.05)  # it has said its last word and is about to end
    status = run.status()
    if status.active or worker is not None:
        raise UserError(
            f"run {run.id} is {status.state if status.active else 'in use'}{f' ({worker})' if worker else ''}",
            "a run that was cancelled, failed or lost",
        )
    if status.state == "done" and not unless(run):
        raise UserError(f"run {run.id} is done", "a run that was cancelled, failed or lost")


def start_worker(run: Run) -> None:
    """Start the worker of a queued run. Whoever calls it holds ``run.starting``, or is the only one who knows the run.

    Raises:
        UserError: as :meth:`beft_core.execution.executors.Executor.start`.
    """
    executor_of(run).start(run)
