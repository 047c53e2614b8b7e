"""Worker of a sweep: takes banks of a sweep's folder until none is left, beside any number of others."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from beft_core.execution.fleet import Fleet, options_of, places
from beft_core.execution.leaving import UNFINISHED, Leaving, Left, UntilLeft
from beft_core.extras import require_training
from beft_core.models.source import BUNDLED, locate
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.sharing.result import SweepResult
from beft_core.sweeps.sharing.share import Sharing
from beft_core.sweeps.sharing.workers import Heart
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer

JOB = "SLURM_JOB_ID"
"""Variable in which Slurm tells a job its id."""
REQUEUE_SECONDS = 30.0
"""Seconds to wait for Slurm to queue a job again."""


@dataclass(frozen=True)
class Assignment:
    """What a worker of a sweep is told about its work."""

    bank_size: int | None = None
    """Most fine-tunes of a bank, where this worker is the first to plan; None: from free memory."""
    keep: Kept = field(default_factory=Kept)
    """What to keep besides rows."""
    workers: int = 1
    """Number of workers that banks are planned for."""
    wait: bool = False
    """Whether to wait until all is done, see :class:`beft_core.sweeps.sharing.share.Sharing`."""
    device: str | None = None
    """Words for the device, for whoever watches."""
    parent: int | None = None
    """Process that started this one and without which it leaves; None: it goes on alone, by as many processes as this
    machine has GPUs.
    """
    unless: Path | None = None
    """File that is not there as long as the worker is wanted; None: there is no such file."""


USUAL = Assignment()
"""Assignment of a worker that was told nothing."""


def work(folder: SweepFolder, observer: Observer, given: Assignment = USUAL, *, requeue: bool = False) -> int:
    """Take banks of a sweep that began in a folder, until all is done or whatever is left is in the hands of others.

    Args:
        folder: the folder of the sweep.
        observer: hears about progress.
        given: how it works.
        requeue: whether to have Slurm queue the job again when its time is up.

    Returns the exit status: 0, or :data:`beft_core.execution.leaving.UNFINISHED` where a signal came first.

    Raises:
        UserError: no sweep began there, or everything else that a user can put right.
    """
    folder.spec()
    if given.unless is not None and given.unless.exists():  # a job that waited in the queue
        return UNFINISHED
    require_training()
    return until_told(
        lambda leaving: take_share(folder, UntilLeft(observer, leaving), leaving, given).stopped, requeue=requeue
    )


def until_told(task: Callable[[Leaving], bool], *, requeue: bool) -> int:
    """Do a task that a signal may end early, and that says whether it was stopped.

    Returns the exit status; ``requeue`` as of :func:`work`.
    """

    def at_last() -> None:
        if requeue and leaving.wants_again:
            queue_again()

    with Leaving(at_last) as leaving:
        try:
            stopped = task(leaving)
        except Left:
            stopped = True
        if stopped:
            at_last()
        return UNFINISHED if stopped else 0


def take_share(folder: SweepFolder, observer: Observer, leaving: Leaving, given: Assignment = USUAL) -> SweepResult:
    """Take banks of a sweep that began in a folder: in this process or, on a machine of several GPUs, by one for each.

    Arguments and errors as of :func:`work`; the observer is one that hears of leaving.
    """
    spec = folder.spec()
    folder.join()
    where = places(spec) if given.parent is None else []
    if len(where) > 1:
        options = options_of(given.bank_size, given.keep) + (["--wait"] if given.wait else [])
        options += ["--unless", str(given.unless)] if given.unless is not None else []
        locate(str(spec.settings.get("model", BUNDLED)))  # what the paper preset makes of its size names the runs
        fleet = Fleet(folder, spec.runs(), observer, options, others=max(0, given.workers - len(where)))
        return fleet.run(where, merges=bool(spec.merges))
    heart = Heart.of_this_process(folder.workers, given.device, job_id())

    def stop() -> None:
        heart.tell(state="stopped", bank=None, doing="")
        heart.beat()

    def leaves_where(gone: Callable[[], bool], why: str) -> None:
        heart.on_beat.append(lambda: leaving.leave(why) if gone() else None)

    if (parent := given.parent) is not None:
        leaves_where(lambda: os.getppid() != parent, "its parent has ended")
    if (unless := given.unless) is not None:
        leaves_where(unless.exists, "it is not wanted any more")
    leaving.last_words.append(stop)
    try:
        observer.stage("start PyTorch")
        from beft_core.sweeps.runner import run_sweep

        sharing = Sharing(given.workers, given.wait, joins=True, heart=heart)
        return run_sweep(spec, folder, observer, bank_size=given.bank_size, keep=given.keep, sharing=sharing)
    finally:
        leaving.last_words.remove(stop)


def job_id() -> str | None:
    """Id of the job that this process runs in, ``41`` or, in an array, ``41_0``; None outside of one."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get(JOB)


def queue_again() -> None:
    """Have Slurm queue this job again, with the same id; it ends the job at once. Nothing where it does not answer."""
    command, job = shutil.which("scontrol"), job_id()
    if command is not None and job is not None:
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run([command, "requeue", job], timeout=REQUEUE_SECONDS, check=False)
