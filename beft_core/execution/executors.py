"""Executors, the places where runs are done: what each can be asked, whether it is this machine or a cluster.

Which one does a run stands in its status, and by that name :data:`beft_core.runs.status.EXECUTORS` finds it: whoever
reads a run asks its executor whether it is alive, and never a process id of another machine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.imports import imported
from beft_core.runs.run import Run
from beft_core.runs.status import EXECUTORS, Status


class Executor(ABC):
    """Place that does runs. The run folder is all that it and the dashboard share: both must see it under its path."""

    name: str
    """Name of the executor in the status of its runs."""

    @abstractmethod
    def start(self, run: Run) -> None:
        """Start the worker of a queued run, or hand the run to a scheduler, whose job id goes into the status.

        Raises:
            UserError: it does not start, with the reason; or the run's files cannot be written.
        """

    def configure(self, run: Run, values: dict[str, Any]) -> None:
        """Keep settings of a run that only this executor knows, before it is started.

        Raises:
            UserError: it has none of this name or value.
        """
        if values:
            raise UserError(f"got {', '.join(values)} for the executor {self.name}", "no settings of its own")

    @abstractmethod
    def is_alive(self, run: Run, status: Status) -> bool | None:
        """Whether something works on an active run or will.

        None where that cannot be asked from here: then the run's sign of life counts, see
        :meth:`beft_core.runs.run.Run.status`.
        """

    @abstractmethod
    def stop(self, run: Run, status: Status, *, force: bool) -> None:
        """End the worker of an active run that did not end when it was asked: politely, or at once by ``force``.

        Does nothing where it cannot reach it: every worker ends itself, see :mod:`beft_core.execution.cancel`.
        """

    @abstractmethod
    def devices(self) -> tuple[str, ...]:
        """Names of the devices that a configuration may ask for."""

    def helpers(self, run: Run) -> int:
        """Count the workers beside that of the run, for which its passes are planned, too."""
        return 0

    def output(self, run: Run) -> Path:
        """File that holds what the worker prints."""
        return run.log

    @contextmanager
    def turn(
        self, run: Run, device: str, should_stop: Callable[[], bool], on_position: Callable[[int], None]
    ) -> Iterator[bool]:
        """Wait in the worker for the device and hold it inside the block; yields whether it is the run's turn.

        A scheduler has given the device already: there is nothing to wait for.
        """
        yield not should_stop()


def executor_of(run: Run) -> Executor:
    """Find the executor that a run was started by. Raises UserError for one that this version does not have."""
    return executor_named(run.recorded().executor)


def executor_named(name: str) -> Executor:
    """Find an executor by its name. Raises UserError where there is none."""
    if name not in EXECUTORS:
        raise UserError(f"got the executor {name!r}", f"one of {', '.join(EXECUTORS)}")
    executor: Executor = imported(EXECUTORS[name])
    return executor
