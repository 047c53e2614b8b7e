"""Starting a worker that outlives whoever started it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from beft_core.errors import UserError
from beft_core.runs.directory import Run, Status
from beft_core.runs.queue import Queue, device_of
from beft_core.snapshot import Snapshot, write_snapshot

if TYPE_CHECKING:
    from beft_core.merge_plan import MergeConfig
    from beft_core.sweeps.spec import SweepSpec
    from beft_core.training.config import RunConfig

REPORT_SECONDS = 15.0
"""How long to wait for a new worker's first word."""

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
        UserError: the run is still active, is done, or its configuration is damaged.
    """
    status = run.status()
    if status.active or status.state == "done":
        raise UserError(f"run {run.id} is {status.state}", "a run that was cancelled, failed or lost")
    run.config()
    (run.path / "cancel").unlink(missing_ok=True)
    run.write_status(Status("queued", created=time.time()))
    start(run)


def worker_command(run: Run) -> list[str]:
    """The command line of a worker."""
    return [sys.executable, "-m", "beft_core.runs.worker", str(run.path)]


def start(run: Run) -> None:
    """Start the worker of a queued run and wait until it has reported itself.

    Raises:
        UserError: it ended before that.
    """
    root = run.path.parent.parent
    Queue(device_of(*run.config()), root).join(run)
    with run.log.open("ab") as log:
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
