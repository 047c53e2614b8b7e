"""Ending a run: ask, then terminate, then kill.

The steps follow from how long ago it was asked, so :func:`cancel` may be called by anybody, any number of times, and
never waits: the page calls it at every tick of a run that is being cancelled, and the worker calls it on itself.
"""

from __future__ import annotations

from beft_core.execution.executors import executor_named
from beft_core.runs.run import Run
from beft_core.runs.status import EXECUTORS

TERMINATE_AFTER = 8.0
"""Seconds that the worker has to stop by itself and to keep what it has."""
KILL_AFTER = 16.0
"""Seconds after which the worker is killed together with its children."""


def cancel(run: Run) -> None:
    """Ask for the end of a run, or do the next step if that was asked long enough ago. Ended runs stay as they are.

    Raises:
        UserError: the run's folder cannot be written.
    """
    run.ask_cancel()
    if not run.cancel_asked():
        return
    status, age = run.recorded(), run.cancel_age()
    if status.active and age > TERMINATE_AFTER and status.executor in EXECUTORS:
        executor_named(status.executor).stop(run, status, force=age > KILL_AFTER)
