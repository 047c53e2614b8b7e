"""Reproduction as jobs of a cluster: one array of equal jobs, of which each takes its share of every step."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from beft_core.comparison.folder import ComparisonFolder
from beft_core.errors import UserError
from beft_core.execution.clusters import submission
from beft_core.execution.clusters.settings import Cluster
from beft_core.execution.clusters.slurm import JOBS, cancel, script, submit
from beft_core.execution.clusters.submission import Abandoned, ended_early, jobs_for
from beft_core.reproduction.plan import Plan, Step
from beft_core.reproduction.run import Outcome
from beft_core.reproduction.steps import count_failed, is_done, title, unfinished
from beft_core.sweeps.sharing.workers import Worker, workers_in
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.store import Finished, SweepFolder
from beft_core.training.observer import Observer
from beft_core.training.preconditions import require_data


@dataclass(frozen=True)
class Jobs:
    """Jobs of a reproduction, about to be submitted."""

    plan: Plan
    cluster: Cluster
    words: Sequence[str]
    """Words behind ``beft`` that make the same plan on a node."""

    @cached_property
    def missing(self) -> int:
        """Number of fine-tunes that were missing when this was first asked."""
        return sum(len(line.ready) for line in self.plan.lines())

    @property
    def jobs(self) -> int:
        """Number of jobs, of :func:`beft_core.execution.clusters.submission.jobs_for`."""
        return jobs_for(self.missing, self.cluster)

    @property
    def command(self) -> list[str]:
        """Command line of each job."""
        workers = self.jobs * self.cluster.places
        return [sys.executable, "-m", "beft_core", *self.words, "--share", str(workers)]

    @property
    def folder(self) -> Path:
        """Folder of the batch file and of what jobs print."""
        return self.plan.folder / JOBS

    def left(self) -> list[Step]:
        """List the steps that can run and are not done."""
        return [step for step in self.plan.steps if step.spec is not None and not is_done(step)]

    def failed(self) -> int:
        """Count the fine-tunes of the plan that failed."""
        return sum(map(count_failed, self.plan.steps))

    def begin(self, observer: Observer) -> dict[str, str]:
        """Begin every sweep in its folder, so that jobs are workers of it, and look for its data.

        Returns why steps cannot begin, by the name of their folder: that is said, and jobs leave them out.

        Raises:
            UserError: none can begin, or the folder cannot be written.
        """
        left = self.left()
        errors: dict[str, str] = {}
        for number, step in enumerate(left, 1):
            try:
                _begin(step)
            except UserError as error:
                if number == len(left) == len(errors) + 1:
                    raise
                errors[step.folder.name] = str(error)
                observer.message(f"{title(step)}: {error}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write {self.folder}: {error.strerror}", "a folder to write to", "--out") from None
        return errors

    def script(self) -> str:
        """Write the batch file. Raises UserError where submitit is missing."""
        return script(self.command, self._name, self.cluster, self.folder, self.jobs)

    def submit(self) -> str:
        """Submit the jobs of a reproduction that began; returns their id. Raises UserError where Slurm refuses them."""
        return submit(self.command, self._name, self.cluster, self.folder, self.jobs)

    @property
    def _name(self) -> str:
        return f"beft-{self.plan.folder.absolute().name}"[:60]

    def wait(self, job: str, observer: Observer, left_out: Mapping[str, str] = MappingProxyType({})) -> Outcome:
        """Wait until every step is done, by these jobs and any other workers, or until nobody is at work any more.

        Where the observer asks for the end, the jobs go on. Steps that nobody goes on with stand among the errors, as
        do those that did not begin: ``left_out``, of :meth:`begin`.
        """
        began, before = time.monotonic(), self.missing
        watched = [_Watched(step) for step in self.left() if step.folder.name not in left_out]
        abandoned = Abandoned(job)
        reached = sum(one.finished() for one in watched)
        observer.stage("fine-tunes of jobs", sum(one.total() for one in watched) - reached)
        errors: dict[str, str] = {}
        while left := [one for one in watched if not one.is_done()]:
            if observer.should_stop():
                break
            now = sum(one.finished() for one in watched)
            observer.advance(now - reached)
            reached = now
            if abandoned.look(worker for one in left for worker in one.workers()):
                errors = {one.step.folder.name: str(ended_early(job, one.missing(), self.folder)) for one in left}
                break
            time.sleep(submission.LOOK_SECONDS)
        if not left:
            cancel(job, waiting=True)  # they would find nothing to do
        trained = before - sum(len(line.ready) for line in self.plan.lines())
        seconds, stopped = time.monotonic() - began, bool(left) and not errors
        return Outcome(trained, self.failed(), seconds, {**left_out, **errors}, stopped)


def _begin(step: Step) -> None:
    """Look for the data of a step, and begin its sweep. Raises UserError where it cannot."""
    require_data(unfinished(step))
    if isinstance(step.spec, SweepSpec):
        folder = SweepFolder(step.folder)
        folder.begin(folder.continued(step.spec.pinned()))


class _Watched:
    """Step that jobs do, read from its folder."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self._comparison = ComparisonFolder(step.folder) if step.comparison is not None else None
        self._rows = Finished(SweepFolder(step.folder), map(identity, step.runs))

    def total(self) -> int:
        return len(self.step.wanted if self._comparison is not None else self.step.runs)

    def finished(self) -> int:
        return self.step.finished() if self._comparison is not None else len(self._rows.look())

    def is_done(self) -> bool:
        return not (self._comparison is None and self._rows.missing()) and is_done(self.step)

    def missing(self) -> str:
        if self._comparison is not None:
            return "methods"
        count = self._rows.missing()
        return f"{count} fine-tunes" if count else "the merges"

    def workers(self) -> list[Worker]:
        compared = self._comparison
        folders = [SweepFolder(self.step.folder)] if compared is None else [compared.trials, compared.finals]
        return [worker for folder in folders for worker in workers_in(folder.workers)]
