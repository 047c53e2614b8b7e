"""Submission of a sweep as jobs of a cluster, and the wait for its end.

Jobs and whoever waits know each other by the sweep's folder alone: a terminal that is closed, or a controller that is
started again, changes nothing, and a second submission of the same sweep helps the first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.execution.clusters.following import Following
from beft_core.execution.clusters.settings import Cluster
from beft_core.execution.clusters.slurm import JOBS, cancel, queued, script, submit, worker_command
from beft_core.execution.fleet import options_of
from beft_core.sweeps.merges import are_merged
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.sharing.renewal import Renewal, mark, renewal_of
from beft_core.sweeps.sharing.result import SweepResult
from beft_core.sweeps.sharing.workers import Worker, claim_seconds
from beft_core.sweeps.spec import SweepSpec
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer

LOOK_SECONDS = 5.0
"""Seconds between two looks at a sweep's folder, which lies on a server that many ask."""
FOR_ONE_WORKER = 4
"""Fewest fine-tunes of a worker: starting one for fewer costs more than it brings."""


def jobs_for(missing: int, cluster: Cluster) -> int:
    """Count the jobs for so many missing fine-tunes: no more than are wanted, and none that finds nothing to do."""
    return max(1, min(cluster.max_jobs, -(-missing // (FOR_ONE_WORKER * cluster.places))))


@dataclass(frozen=True)
class Submission:
    """Jobs of a sweep, about to be submitted."""

    folder: SweepFolder
    runs: Sequence[RunConfig]
    """The grid's fine-tunes."""
    cluster: Cluster
    bank_size: int | None = None
    snapshots: bool = True
    found: Renewal | None = None
    """What is trained again of that which is finished, where whoever submits has looked for it; None: it is looked for.
    """

    @cached_property
    def again(self) -> Renewal:
        """What was finished when this was first asked, and what of it is trained again."""
        return renewal_of(self.folder, self.runs, Kept(self.snapshots)) if self.found is None else self.found

    @property
    def missing(self) -> int:
        """Number of fine-tunes that were missing when this was first asked, or are trained again: its jobs have begun
        with them by then.
        """
        return len(self.runs) - len(self.again.stays)

    @property
    def jobs(self) -> int:
        """Number of jobs, of :func:`jobs_for`."""
        return jobs_for(self.missing, self.cluster)

    @property
    def command(self) -> list[str]:
        """Command line of each job."""
        options = options_of(self.bank_size, Kept(self.snapshots))
        return worker_command(self.folder, self.jobs * self.cluster.places, options)

    @property
    def name(self) -> str:
        """Name of the jobs."""
        return f"beft-{self.folder.path.absolute().name}"[:60]

    def begin(self, spec: SweepSpec, tell: Callable[[str], object]) -> None:
        """Make what jobs need, also of somebody else who submits them: they are workers of a sweep that began in the
        folder, they train what is marked there to be trained again, and Slurm ends a job that cannot write what it
        says. ``tell``: as :meth:`beft_core.sweeps.store.SweepFolder.begin`, and hears what is trained again.

        Raises:
            UserError: the folder cannot be made or written.
        """
        self.folder.begin(spec, tell)
        mark(self.folder, self.runs, self.again)
        if said := self.again.in_words():
            tell(said)
        folder = self.folder.path / JOBS
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write {folder}: {error.strerror}", "a folder to write to") from None

    def script(self) -> str:
        """Write the batch file. Raises UserError where submitit is missing."""
        return script(self.command, self.name, self.cluster, self.folder.path / JOBS, self.jobs)

    def submit(self) -> str:
        """Submit the jobs of a sweep that began in the folder; returns their id.

        Raises:
            UserError: Slurm refuses them.
        """
        return submit(self.command, self.name, self.cluster, self.folder.path / JOBS, self.jobs)


class Abandoned:
    """Watch over whether the jobs of a submission and whoever worked beside them have left."""

    def __init__(self, job: str) -> None:
        """``job``: id of the jobs."""
        self._job = job
        self._beats: dict[str, float] = {}
        self._alone, self._last = 0.0, time.monotonic()

    def look(self, workers: Iterable[Worker]) -> bool:
        """Say whether nobody has been at work for so long that nobody will come. ``workers``: all that are known."""
        now = time.monotonic()
        at_work = {one.identity.id: one.time for one in workers if one.state in ("working", "waiting")}
        # Jobs leave when workers of another submission train all that is left: those are waited for.
        heard = any(self._beats.get(name, date) != date for name, date in at_work.items())
        self._beats = at_work
        self._alone = 0.0 if heard or queued(self._job) is not False else self._alone + now - self._last
        self._last = now
        # Workers of a killed job say for ever that they work: their silence is waited for as workers wait for it.
        return self._alone > (claim_seconds() if at_work else LOOK_SECONDS)


def ended_early(job: str, missing: str, logs: Path) -> UserError:
    """Make the error of jobs that ended before all was done. ``missing``: what is, in words; ``logs``: their folder."""
    return UserError(
        f"job {job} has ended, and {missing} are missing",
        "jobs that go on until all is done",
        f"the same command again, which goes on from here; what jobs said is in {logs}",
    )


def wait(submission: Submission, job: str, observer: Observer) -> SweepResult:
    """Wait until a sweep is done, by its jobs and any other workers, and write its table.

    Where the observer asks for the end, the jobs go on.

    Raises:
        UserError: all jobs have ended, and nobody is at work, before all was done.
    """
    began, folder = time.monotonic(), submission.folder
    spec = folder.spec()
    before = len(folder.finished(submission.runs))
    follow = Following(folder, submission.runs, observer)
    abandoned = Abandoned(job)
    seen: dict[str, Worker] = {}

    def is_done() -> bool:
        return not follow.missing() and are_merged(spec, submission.runs, folder)

    while not is_done() and not observer.should_stop():
        seen = follow.look(_name)
        if abandoned.look(seen.values()):
            missing = follow.missing()
            raise ended_early(job, f"{missing} fine-tunes" if missing else "the merges", folder.path / JOBS)
        time.sleep(LOOK_SECONDS)
    follow.look(_name)
    if is_done():
        cancel(job, waiting=True)  # they would find nothing to do
    table = folder.write_table(submission.runs)
    return SweepResult(
        len(submission.runs),
        len(folder.finished(submission.runs)) - before,
        int((table["state"] == "failed").sum()),
        sum(worker.banks for worker in seen.values() if (worker.job or "").partition("_")[0] == job),
        time.monotonic() - began,
        not is_done(),
    )


def _name(worker: Worker) -> str:
    return f"{worker.identity.host}, job {worker.job}" if worker.job is not None else worker.identity.host
