"""Starting a worker that outlives whoever started it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from beft_core.errors import UserError
from beft_core.execution.queue import Queue
from beft_core.files.locks import hold, holder
from beft_core.files.plain_file import open_plain
from beft_core.runs.kinds import KINDS
from beft_core.runs.run import Run
from beft_core.runs.status import Status
from beft_core.snapshots.snapshot import Snapshot, write_snapshot

if TYPE_CHECKING:
    from beft_core.config import RunConfig
    from beft_core.merging.config import MergeConfig
    from beft_core.sweeps.spec import SweepSpec

REPORT_SECONDS = 15.0
"""How long to wait for a new worker's first word."""
LAST_SECONDS = 5.0
"""How long a worker may take from its last word to its end."""

# No terminal, no signals of ours, no pipe that somebody has to empty.
_DETACHED: dict[str, Any] = (
    {"creationflags": 0x00000208}  # DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP
    if sys.platform == "win32"
    else {"start_new_session": True}
)


def launch(
    kind: str,
    config: RunConfig | MergeConfig | SweepSpec,
    root: Path | None = None,
    snapshots: Mapping[str, Snapshot] = MappingProxyType({}),
) -> Run:
    """Create a run and start its worker. ``snapshots``: what it works on, by the names of its copies in the folder.

    Raises:
        UserError: the home folder cannot be written, or the worker does not start.
    """
    run = Run.create(kind, config.to_dict(), root)
    with _alone(run):
        try:
            for name, snapshot in snapshots.items():
                write_snapshot(run.path / name, snapshot)
        except UserError:
            shutil.rmtree(run.path, ignore_errors=True)
            raise
        start(run)
    return run


def resume(run: Run) -> None:
    """Start the worker of an ended run again; it goes on from its checkpoint if there is one.

    Raises:
        UserError: the run is still active or being started (by whom and since when), is done, or its configuration is
            damaged.
    """
    with _alone(run):
        _must_be_over(run)
        run.config()
        run.uncancel()
        run.write_status(Status("queued", created=time.time()))
        start(run)


def start_over(run: Run) -> None:
    """Start the worker of an ended run again, from the beginning: its checkpoints are put aside, not deleted.

    Fine-tunes of a sweep that are finished stay so.

    Raises:
        UserError: as :func:`resume`, or the folder cannot be written.
    """
    with _alone(run):
        _must_be_over(run)
        run.config()
        for path in [path for pattern in run.kind.checkpoints for path in run.path.glob(pattern)]:
            with suppress(FileNotFoundError):
                path.replace(path.with_name(f"unusable-{path.name}"))
        run.uncancel()
        run.write_status(Status("queued", created=time.time()))
        start(run)


def _alone(run: Run) -> AbstractContextManager[None]:
    """Hold a run while its worker is started: two that resume it at once would start two."""
    return hold(run.starting, f"run {run.id}, which is just being started,", "again in a few seconds")


def _must_be_over(run: Run) -> None:
    """Raises UserError unless the run has ended, but for being done."""
    deadline = time.monotonic() + LAST_SECONDS
    while (worker := holder(run.working)) is not None and not run.status().active and time.monotonic() < deadline:
        time.sleep(0.05)  # it has said its last word and is about to end
    status = run.status()
    if status.active or worker is not None:
        raise UserError(
            f"run {run.id} is {status.state if status.active else 'in use'}{f' ({worker})' if worker else ''}",
            "a run that was cancelled, failed or lost",
        )
    if status.state == "done":
        raise UserError(f"run {run.id} is done", "a run that was cancelled, failed or lost")


def worker_command(run: Run) -> list[str]:
    """The command line of a worker."""
    return [sys.executable, "-m", "beft_core.execution.worker", str(run.path)]


def start(run: Run) -> None:
    """Start the worker of a queued run and wait until it has reported itself. Whoever calls it holds ``run.starting``,
    or is the only one who knows the run.

    Raises:
        UserError: it ended before that, or the run's files cannot be written.
    """
    root = run.path.parent.parent
    queue = Queue(_device(run), root)
    queue.leave(run)  # where it stood before it ended
    queue.join(run)
    with open_plain(run.log, "ab", follow=False) as log:
        process = subprocess.Popen(
            worker_command(run),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "BEFT_HOME": str(root), "PYTHONUNBUFFERED": "1"},
            **_DETACHED,
        )
    deadline = time.monotonic() + REPORT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if run.recorded().process is not None:
            return
        time.sleep(0.02)
    if process.poll() is not None and run.recorded().process is None:
        words = (run.log_tail(1) or ["no word in its log"])[0]
        message = f"The worker did not start (exit status {process.returncode}): {words}"
        run.write_status(Status("failed", created=run.recorded().created, ended=time.time(), message=message))
        raise UserError(message, try_="the whole log in " + str(run.log))


def _device(run: Run) -> str:
    kind, fields = run.config()
    return KINDS[kind].device(fields)
