"""Ending a run: ask, then terminate, then kill.

The steps follow from how long ago it was asked, so :func:`cancel` may be called by anybody, any number of times, and
never waits: the page calls it at every tick of a run that is being cancelled, and the worker calls it on itself.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from beft_core.runs.run import Run

TERMINATE_AFTER = 8.0
"""Seconds that the worker has to stop by itself and to keep what it has."""
KILL_AFTER = 16.0
"""Seconds after which it is killed together with its children."""


def cancel(run: Run) -> None:
    """Ask for the end of a run, or do the next step if that was asked long enough ago. Ended runs stay as they are.

    Raises:
        UserError: the run's folder cannot be written.
    """
    run.ask_cancel()
    if not run.cancel_asked():
        return
    status = run.recorded()
    process = status.process.find() if status.active and status.process else None
    if process is None:
        return
    age = run.cancel_age()
    try:
        if age <= TERMINATE_AFTER or not _works_on(run, process):
            return
        if age > KILL_AFTER:
            for child in process.children(recursive=True):
                child.kill()
            process.kill()
        else:
            process.terminate()
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # gone meanwhile, or somebody else's
        return


def _works_on(run: Run, process: psutil.Process) -> bool:
    """Whether a process was started for this run. A status that a stranger wrote may name any process."""
    return process.pid == os.getpid() or any(Path(word).name == run.id for word in process.cmdline())
