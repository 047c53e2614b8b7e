"""Worker of a sweep: takes banks of a sweep's folder until none is left, beside any number of others."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from beft_core.execution.leaving import UNFINISHED, Leaving, Left, UntilLeft
from beft_core.extras import require_training
from beft_core.sweeps.sharing.share import Sharing
from beft_core.sweeps.sharing.workers import Heart
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer

JOB = "SLURM_JOB_ID"
"""Variable in which Slurm tells a job its id."""
REQUEUE_SECONDS = 30.0
"""Seconds to wait for Slurm to queue a job again."""


def work(
    folder: SweepFolder,
    observer: Observer,
    *,
    bank_size: int | None = None,
    snapshots: bool = True,
    workers: int = 1,
    wait: bool = False,
    device: str | None = None,
    parent: int | None = None,
    unless: Path | None = None,
    requeue: bool = False,
) -> int:
    """Take banks of a sweep that began in a folder, until all is done or whatever is left is in the hands of others.

    Args:
        folder: the folder of the sweep.
        observer: hears about progress.
        bank_size: most fine-tunes of a bank, where this worker is the first to plan; None: from free memory.
        snapshots: whether to keep them.
        workers: number of workers that banks are planned for.
        wait: whether to wait until all is done, see :class:`beft_core.sweeps.sharing.share.Sharing`.
        device: words for the device, for whoever watches.
        parent: process that started this one and without which it leaves; None: it goes on alone.
        unless: file that is not there as long as the worker is wanted; None: there is no such file.
        requeue: whether to have Slurm queue the job again when its time is up.

    Returns the exit status: 0, or :data:`beft_core.execution.leaving.UNFINISHED` where a signal came first.

    Raises:
        UserError: no sweep began there, or everything else that a user can put right.
    """
    spec = folder.spec()
    if unless is not None and unless.exists():  # a job that waited in the queue
        return UNFINISHED
    require_training()
    folder.join()
    heart = Heart.of_this_process(folder.workers, device, job_id())

    def at_last() -> None:
        heart.tell(state="stopped", bank=None, doing="")
        heart.beat()
        if requeue and leaving.wants_again:
            queue_again()

    with Leaving(at_last) as leaving:
        if parent is not None:
            heart.on_beat.append(lambda: leaving.leave("its parent has ended") if os.getppid() != parent else None)
        if unless is not None:
            heart.on_beat.append(lambda: leaving.leave("it is not wanted any more") if unless.exists() else None)
        try:
            observer.stage("start PyTorch")
            from beft_core.sweeps.runner import run_sweep

            sharing = Sharing(workers, wait, joins=True, heart=heart)
            watched = UntilLeft(observer, leaving)
            stopped = run_sweep(
                spec, folder, watched, bank_size=bank_size, snapshots=snapshots, sharing=sharing
            ).stopped
        except Left:
            stopped = True
        if requeue and stopped and leaving.wants_again:
            queue_again()
        return UNFINISHED if stopped else 0


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
