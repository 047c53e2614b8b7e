"""Ending a run: ask, then terminate, then kill.

The steps follow from how long ago it was asked, so :func:`cancel` may be called by anybody, any number of times, and
never waits: the page calls it at every tick of a run that is being cancelled, and the worker calls it on itself.
"""

from __future__ import annotations

import time

import psutil

from beft_core.runs.directory import Run

TERMINATE_AFTER = 8.0
"""Seconds that the worker has to stop by itself and to keep what it has."""
KILL_AFTER = 16.0
"""Seconds after which it is killed together with its children."""


def cancel(run: Run) -> None:
    """Ask for the end of a run, or do the next step if that was asked long enough ago. Ended runs stay as they are."""
    run.ask_cancel()
    asked = run.cancel_asked()
    status = run.recorded()
    process = status.process.find() if status.active and status.process else None
    if asked is None or process is None:
        return
    age = time.time() - asked
    try:
        if age > KILL_AFTER:
            for child in process.children(recursive=True):
                child.kill()
            process.kill()
        elif age > TERMINATE_AFTER:
            process.terminate()
    except psutil.NoSuchProcess:
        return
