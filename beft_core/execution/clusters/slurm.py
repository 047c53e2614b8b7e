"""Executor on a cluster with Slurm: jobs that start our commands on nodes which see the same folders.

Whether a run is alive is asked of its signs of life, and of ``squeue`` where it has given none yet or for long; never
of a process id of another machine, and never of ``sacct``, which many clusters do not have.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from beft_core.config import DEVICES
from beft_core.errors import UserError
from beft_core.execution.clusters.settings import Cluster, settings
from beft_core.execution.executors import Executor
from beft_core.extras import require_slurm
from beft_core.files.safe_io import atomic_write, read_json_file
from beft_core.runs.run import Run
from beft_core.runs.status import Status
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.sharing.renewal import renew
from beft_core.sweeps.spec import SweepSpec
from beft_core.sweeps.store import SweepFolder

JOBS = "jobs"
"""Folder, in that of a run or a sweep, of batch files and of what jobs print."""
SETTINGS = "cluster.json"
"""File, in the folder of a run, with the settings of its jobs."""
ANSWER_SECONDS = 15.0
"""Seconds to wait for a command of Slurm."""
FRESH_SECONDS = 90.0
"""Seconds since a run's last sign of life within which nobody else is asked."""
KNOWN_SECONDS = 20.0
"""Seconds for which an answer of ``squeue`` is kept: many readers of runs must not burden the controller."""


def is_here() -> bool:
    """Say whether this machine is a login node of a cluster with Slurm."""
    return shutil.which("sbatch") is not None


def script(command: list[str], name: str, cluster: Cluster, folder: Path, jobs: int = 1) -> str:
    """Write the batch file of equal jobs that run a command.

    Args:
        command: words of the command line.
        name: name of the jobs.
        cluster: their settings.
        folder: where what they print goes.
        jobs: how many.

    Raises:
        UserError: submitit is missing, or does not know a setting.
    """
    return str(_executor(name, cluster, folder, jobs).batch_file(shlex.join(command)))


def submit(command: list[str], name: str, cluster: Cluster, folder: Path, jobs: int = 1) -> str:
    """Submit equal jobs that run a command; returns their id. Arguments and errors as of :func:`script`.

    Raises:
        UserError: this machine has no Slurm, or it refuses the jobs, with its reason.
    """
    if not is_here():
        raise UserError(
            "got the executor slurm on a machine without sbatch", "a login node of a cluster", "--print-sbatch"
        )
    executor = _executor(name, cluster, folder, jobs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return str(executor.submit_command(shlex.join(command)))
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}", "a folder to write to") from None
    except Exception as error:  # submitit's own, and whatever a command that fails raises there
        lines = [line for line in str(error).splitlines() if line.strip()]
        words = next((line for line in reversed(lines) if "sbatch" in line), lines[-1] if lines else "no reason")
        got = f"Slurm refuses the job: {words[:300]}"
        raise UserError(got, "settings that the cluster has", "beft docs clusters") from None


def cancel(jobs: str, *, waiting: bool = False) -> None:
    """End jobs, named as in a status; those that are gone are left alone. ``waiting``: only those that wait."""
    command = shutil.which("scancel")
    if command is not None and (ids := _ids(jobs)):
        _answer([command, *(["--state=PENDING"] if waiting else []), *ids])


def queued(jobs: str) -> bool | None:
    """Say whether a job waits or works; None where Slurm does not answer, or is not here."""
    command = shutil.which("squeue")
    ids = _ids(jobs)
    if command is None or not ids:
        return None
    known = _KNOWN.get(jobs)
    if known is not None and time.monotonic() - known[0] < KNOWN_SECONDS:
        return known[1]
    answer = _answer([command, "--noheader", "--states=all", "--format=%T", f"--jobs={','.join(ids)}"])
    if answer is None:
        found = None
    elif answer.returncode == 0:
        found = bool(set(answer.stdout.split()) - _OVER)
    else:  # it says so of jobs that it has forgotten
        found = False if "invalid job id" in answer.stderr.lower() else None
    _KNOWN[jobs] = time.monotonic(), found
    return found


def _ids(jobs: str) -> list[str]:
    """Ids of jobs in a status, which a stranger may have written: a flag there would end jobs of somebody else."""
    return [word for word in jobs.split() if _ID.fullmatch(word)]


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ID = re.compile(r"[0-9]{1,12}(_[0-9]{1,12})?")
_KNOWN: dict[str, tuple[float, bool | None]] = {}
"""Answers of ``squeue``: when, and what."""
_OVER = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
    *("REVOKED", "TIMEOUT"),
}
"""States of a job that has ended; one that is queued again is in another."""


def worker_command(folder: SweepFolder, workers: int, options: list[str]) -> list[str]:
    """Make the command line of a job that takes its share of a sweep."""
    command = [sys.executable, "-m", "beft_core", "worker", str(folder.path.absolute()), "--requeue"]
    return [*command, "--workers", str(workers), *options]


class Slurm(Executor):
    """Executor that submits the worker of a run as a job; of a sweep, as several that share it."""

    name = "slurm"

    def configure(self, run: Run, values: dict[str, Any]) -> None:
        """Keep the settings of the jobs of a run: fields of a :class:`Cluster`, and ``profile``. Raises UserError."""
        profile = values.pop("profile", None)
        kept = settings(values, profile).to_dict()
        atomic_write(run.path / SETTINGS, [json.dumps(kept, indent=1).encode()])

    def start(self, run: Run) -> None:
        """Submit the jobs of a queued run; their ids go into its status.

        Raises:
            UserError: Slurm refuses them, or the run's files cannot be written.
        """
        cluster = _settings_of(run)
        _, fields = run.config()
        name, folder = f"beft-{run.id[-6:]}", run.path / JOBS
        command = [sys.executable, "-m", "beft_core.execution.worker", str(run.path)]
        # Held until the status has its id: only the worker may write that as soon as it works.
        jobs = [submit(command, name, replace(cluster, sbatch=(*cluster.sbatch, "hold")), folder)]
        try:
            if run.kind.is_shared and cluster.max_jobs > 1:
                sweep = SweepFolder(run.sweep)
                spec = sweep.continued(SweepSpec.from_dict(fields).pinned())
                sweep.begin(spec)
                renew(sweep, spec.runs(), Kept())
                workers = cluster.max_jobs * cluster.places
                helper = worker_command(sweep, workers, ["--unless", str(run.cancel_file)])
                jobs.append(submit(helper, f"{name}-more", cluster, folder, cluster.max_jobs - 1))
            run.write_status(replace(run.recorded(), job=" ".join(jobs)))
        except UserError:
            cancel(" ".join(jobs))
            raise
        answer = _answer(["scontrol", "release", jobs[0]])
        if answer is None or answer.returncode != 0:
            cancel(" ".join(jobs))
            raise UserError(f"Slurm does not release its job {jobs[0]}", "a controller that answers", "again later")

    def is_alive(self, run: Run, status: Status) -> bool | None:
        """Whether the run has given a sign of life, or its first job waits or works.

        Where Slurm does not answer, a job that has not begun is taken to wait: of it there is no sign of life to miss.
        """
        if status.process is not None and run.silence() < FRESH_SECONDS:
            return True
        if not (first := (status.job or "").split()[:1]):
            return None
        found = queued(first[0])
        return True if found is None and status.process is None else found

    def stop(self, run: Run, status: Status, *, force: bool) -> None:
        """End the jobs of a run, those that wait as well; Slurm itself kills what does not end."""
        cancel(status.job or "")

    def helpers(self, run: Run) -> int:
        """Count the workers of the jobs that a sweep has beside its first."""
        cluster = _settings_of(run)
        return (cluster.max_jobs - 1) * cluster.places if run.kind.is_shared else 0

    def devices(self) -> tuple[str, ...]:
        """Names of all devices: which ones a node has, its worker finds out."""
        return DEVICES


SLURM = Slurm()
"""Executor of the cluster that this machine is a login node of."""


def _settings_of(run: Run) -> Cluster:
    if not (run.path / SETTINGS).is_file():
        return settings({})
    return Cluster.from_dict(read_json_file(run.path / SETTINGS))


def _executor(name: str, cluster: Cluster, folder: Path, jobs: int) -> Any:
    for text in (name, str(folder.absolute())):
        # Both stand in comments of the batch file, which quotes do not carry over the end of a line.
        if _CONTROL.search(text):
            raise UserError(f"got {text[:80]!r} for a batch file", "a folder whose name has one line", "another --out")
    require_slurm()
    from beft_core.libraries.submitit_private import CommandExecutor

    try:
        return CommandExecutor(folder.absolute(), cluster.parameters(name), jobs)
    except (TypeError, ValueError) as error:
        raise UserError(f"submitit does not take these settings: {error}", "other settings") from None


def _answer(command: list[str]) -> subprocess.CompletedProcess[str] | None:
    """Run a command of Slurm; None where it gives no answer in time."""
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
