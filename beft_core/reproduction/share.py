"""Share of one job in a reproduction: it goes from step to step, beside any number of others, each fine-tune once.

A job leaves a step when whatever is left of it is in the hands of others that it sees alive. A step that can take over
what another still trains is put off until then, and so is a comparison whose job gives no sign of life.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from beft_core.comparison.folder import ComparisonFolder
from beft_core.comparison.spec import ComparisonSpec
from beft_core.environment import beat_seconds
from beft_core.errors import UserError
from beft_core.execution.leaving import Leaving, UntilLeft
from beft_core.execution.sweep_worker import Assignment, take_share, until_told
from beft_core.files.locks import holder
from beft_core.reproduction.plan import Plan, Step
from beft_core.reproduction.steps import adopt, compare_methods, is_done, title, waits_for
from beft_core.sweeps.sharing.workers import claim_seconds, workers_in
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer

LOOK_SECONDS = 2.0
"""Most seconds between two looks at who holds a comparison."""
FAILED = 1
"""Exit status of a job in which a step could not run; the others were done."""


def share(plan: Plan, observer: Observer, workers: int = 1, *, bank_size: int | None = None) -> int:
    """Take a share of a reproduction whose sweeps began in their folders, until nothing is left for this job.

    Args:
        plan: what there is to do.
        observer: hears about progress.
        workers: number of workers of all jobs, which passes are planned for.
        bank_size: most fine-tunes in one pass; None: from free memory.

    Returns the exit status: 0, :data:`FAILED`, or :data:`beft_core.execution.leaving.UNFINISHED` where a signal came
    first; by the signal that a job's time is up it is queued again.
    """
    errors: dict[str, str] = {}
    for step in plan.steps:
        if step.spec is None and step.folder.is_dir():  # it began where the model and the data are
            errors[step.folder.name] = "; ".join(f"{lacks.what}: {lacks.why}" for lacks in step.missing)
            observer.message(f"{title(step)} cannot run on this node: {errors[step.folder.name]}")
        elif step.spec is not None and not _began(step):
            observer.message(f"{title(step)} did not begin where its command was given, which said why")

    def task(leaving: Leaving) -> bool:
        return _Share(plan, UntilLeft(observer, leaving), leaving, workers, bank_size, errors).whole()

    return until_told(task, requeue=True) or (FAILED if errors else 0)


@dataclass
class _Share:
    """Work of one job, from the first step to the last."""

    plan: Plan
    observer: Observer
    leaving: Leaving
    workers: int
    bank_size: int | None
    errors: dict[str, str] = field(default_factory=dict)
    """Steps that cannot run, by the name of their folder."""

    def whole(self) -> bool:
        """Do all that is left for this job; say whether it was stopped."""
        while True:
            put_off: list[Step] = []
            for step, before in self._left():
                if (other := waits_for(step, before)) is not None:
                    put_off.append(other)
                elif self._do(step, before):
                    return True
            if not put_off:
                return self._take_over()
            # The first that others wait for waits for none itself.
            first = next((pair for pair in self._left() if pair[0] == put_off[0]), None)
            if first is not None and self._do(*first, wait=True):
                return True

    def _left(self) -> list[tuple[Step, Sequence[Step]]]:
        """List the steps that can run and are not done, each with those before it that can give it fine-tunes."""
        can_run = [
            step for step in self.plan.steps if step.spec and _began(step) and step.folder.name not in self.errors
        ]
        return [(step, can_run[:number]) for number, step in enumerate(can_run) if not is_done(step)]

    def _do(self, step: Step, before: Sequence[Step], *, wait: bool = False) -> bool:
        """Do what is left of a step for this job; say whether it was stopped. ``wait``: for what others do of it."""
        try:
            if isinstance(step.spec, ComparisonSpec):
                return not _is_held(step) and self._compare(step.spec, step)
            adopt(step, before)
            if is_done(step):
                return False
            self.observer.message(title(step))
            given = Assignment(1 if step.is_alone else self.bank_size, workers=self.workers, wait=wait)
            stopped = take_share(SweepFolder(step.folder), self.observer, self.leaving, given).stopped
            if wait and not stopped and not is_done(step):
                raise UserError(f"got {step.folder}, which ended before all was done")
            return stopped
        except UserError as error:
            if step.comparison is not None and _is_held(step):
                return False  # another job was faster
            self.errors[step.folder.name] = str(error)
            self.observer.message(f"{title(step)}: {error}")
            return False

    def _take_over(self) -> bool:
        """Make the comparisons that jobs without a sign of life held until now; say whether this one was stopped."""
        for step, before in self._left():
            if step.comparison is None:
                continue
            if self._becomes_free(step) and not is_done(step) and self._do(step, before):
                return True
            if self.observer.should_stop():
                return True
        return False

    def _becomes_free(self, step: Step) -> bool:
        """Wait for the job that holds a comparison, no longer than for the bank of a worker that is silent, and not
        where it is seen alive; say whether the comparison is free.

        The lock of a job that was killed is gone at once, that of a node that died when the file server notices.
        """
        beats, until = _beats(step), time.monotonic() + claim_seconds()
        while _is_held(step):
            if _beats(step) != beats or time.monotonic() > until or self.observer.should_stop():
                return False
            time.sleep(min(LOOK_SECONDS, beat_seconds()))
        return True

    def _compare(self, spec: ComparisonSpec, step: Step) -> bool:
        self.observer.message(title(step))
        return compare_methods(spec, step.folder, self.observer, self.bank_size).stopped


def _began(step: Step) -> bool:
    """Say whether jobs may take their share of a step: a comparison begins with the first of them."""
    return step.comparison is not None or SweepFolder(step.folder).began


def _beats(step: Step) -> dict[str, float]:
    """Read when the workers of a comparison gave their last signs of life, by their names."""
    folder = ComparisonFolder(step.folder)
    found = [*workers_in(folder.trials.workers), *workers_in(folder.finals.workers)]
    return {worker.identity.id: worker.time for worker in found}


def _is_held(step: Step) -> bool:
    """Say whether another job makes a comparison."""
    return holder(step.folder / "comparison") is not None
