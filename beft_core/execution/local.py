"""Executor of this machine: a worker that outlives whoever started it, known by its process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from beft_core.config import DEVICES
from beft_core.errors import UserError
from beft_core.execution.executors import Executor
from beft_core.execution.queue import Queue
from beft_core.files.locks import holder
from beft_core.files.plain_file import open_plain
from beft_core.process_id import boot_id
from beft_core.runs.kinds import KINDS
from beft_core.runs.run import Run
from beft_core.runs.status import Status

REPORT_SECONDS = 15.0
"""Seconds to wait for a new worker's first report."""

# No terminal, no signals of ours, no pipe that somebody has to empty.
_DETACHED: dict[str, Any] = (
    {"creationflags": 0x00000208}  # DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP
    if sys.platform == "win32"
    else {"start_new_session": True}
)


def worker_command(run: Run) -> list[str]:
    """Command line that starts a worker."""
    return [sys.executable, "-m", "beft_core.execution.worker", str(run.path)]


class Local(Executor):
    """Executor on this machine, whose devices runs take in turn."""

    name = "local"

    def start(self, run: Run) -> None:
        """Start the worker of a queued run and wait until it has reported itself.

        Raises:
            UserError: it ended before that, or the run's files cannot be written.
        """
        root = run.path.parent.parent
        kind, fields = run.config()
        queue = Queue(KINDS[kind].device(fields), root)
        queue.leave(run)  # where it stood before it ended
        queue.join(run)
        with open_plain(self.output(run), "ab", follow=False) as log:
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
            run.write_status(replace(run.recorded(), state="failed", ended=time.time(), message=message))
            raise UserError(message, try_="the whole log in " + str(run.log))

    def is_alive(self, run: Run, status: Status) -> bool | None:
        """Whether the worker's process is there, or somebody is just starting it.

        Of another machine neither process can be seen; the locks that they hold can, where the disk passes them on. In
        another container of this machine it always does, so that a lock which nobody holds means that it has ended.
        """
        if status.process is not None and status.elsewhere is None:
            return status.process.find() is not None
        if holder(run.starting if status.process is None else run.working) is not None:
            return True
        if status.elsewhere is None or (status.process is not None and status.process.boot == boot_id() is not None):
            return False
        return None

    def stop(self, run: Run, status: Status, *, force: bool) -> None:
        """Terminate the worker's process, or kill it together with its children."""
        process = status.process.find() if status.process is not None and status.elsewhere is None else None
        try:
            if process is None or not _works_on(run, process):
                return
            if force:
                for child in process.children(recursive=True):
                    child.kill()
                process.kill()
            else:
                process.terminate()
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # gone meanwhile, or somebody else's
            return

    def devices(self) -> tuple[str, ...]:
        """Names of all devices that a configuration may ask for; the worker reports one that is not there."""
        return DEVICES

    @contextmanager
    def turn(
        self, run: Run, device: str, should_stop: Callable[[], bool], on_position: Callable[[int], None]
    ) -> Iterator[bool]:
        """Wait in the queue of the device."""
        with Queue(device, run.path.parent.parent).turn(run, should_stop, on_position) as ours:
            yield ours


LOCAL = Local()
"""Executor of this machine."""


def _works_on(run: Run, process: psutil.Process) -> bool:
    """Whether a process was started for a run: a status that a stranger wrote may name any process."""
    return process.pid == os.getpid() or any(Path(word).name == run.id for word in process.cmdline())
