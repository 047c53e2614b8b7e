"""Sweeps on a real Slurm of one node: the table is that of this machine, whatever happens to the jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pandas as pd
import prepared
import pytest
import slurm_cluster
from slurm_cluster import Cluster

from beft_core.execution.clusters import slurm as module
from beft_core.execution.clusters.slurm import JOBS as JOBS_FOLDER
from beft_core.execution.start import launch
from beft_core.process_id import ProcessId
from beft_core.sweeps import grouping
from beft_core.sweeps.sharing.share import Share
from beft_core.sweeps.sharing.workers import Heart, Identity, Worker, workers_in
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.store import SweepFolder
from beft_core.sweeps.table import read_table

GRID = [
    *("sweep", "--tasks", "demo-sentiment", "--terms", "v", "q", "head", "--lrs", "2e-3", "5e-3", "1e-2", "2e-2"),
    *("--seeds", "2", "--n-train", "48", "--epochs", "2", "--evaluate", "never", "--device", "cpu"),
    *("--max-length", "16", "--batch-size", "4", "--bank-size", "3"),
]
SPEC = SweepSpec.from_dict(
    {
        "tasks": "demo-sentiment",
        "terms": ["v", "q", "head"],
        "lrs": [2e-3, 5e-3, 1e-2, 2e-2],
        "seeds": 2,
        "n_train": 48,
        "epochs": 2,
        "evaluate": "never",
        "device": "cpu",
        "max_length": 16,
        "batch_size": 4,
    }
)
RUNS, BANK = SPEC.runs(), 3
JOBS = ["--executor", "slurm", "--partition", "cpu", "--gpus", "0", "--time", "10m"]
OF_THE_MACHINE = ["seconds", "peak_bytes"]
"""Columns that say what a fine-tune took."""
PATIENCE = 200.0


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm for the tests of this module."""
    if missing := slurm_cluster.missing():
        assert not os.environ.get("BEFT_REQUIRE_SLURM"), f"no {', '.join(missing)} on this machine"
        pytest.skip(f"needs Debian's slurm-wlm and munge, as root: no {', '.join(missing)}")
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def local(tmp_path: Path) -> Callable[[], pd.DataFrame]:
    """The table of the sweep on this machine alone, which is made while jobs start and wait."""
    folder = tmp_path / "local"
    done = prepared.start([*GRID, "--out", str(folder)], tmp_path / "local says")

    def table() -> pd.DataFrame:
        assert done.wait(PATIENCE) == 0, done.said()
        return read_table(folder).drop(columns=OF_THE_MACHINE)

    return table


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that is a file system of its own, small enough to be filled, where root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)], check=False)
    assert mounted.returncode == 0 or not os.environ.get("BEFT_REQUIRE_SLURM"), "root cannot mount a file system"
    try:
        yield folder
    finally:
        if folder.is_mount():  # lazily: a job that has not ended yet may still write there
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(filler: Path) -> bool:
    """Let a file take all room that is left on its disk; always False."""
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(2**12))
    return False


def until(what: Callable[[], object], patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not what():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)


def one_at_work(folder: SweepFolder, *others: Worker) -> Worker:
    """A worker of this machine that trains, other than some."""
    known, found = {one.identity.id for one in others}, list[Worker]()

    def look() -> bool:
        at_work = [one for one in workers_in(folder.workers) if one.identity.is_gone() is False and one.done > 0]
        found[:] = [one for one in at_work if one.identity.id not in known]
        return bool(found)

    until(look)
    return found[0]


def leave_a_claim_of_a_dead_host(folder: SweepFolder) -> None:
    """A machine planned the sweep, took the first pass and was never heard of again."""
    folder.begin(SPEC)
    process = ProcessId(os.getpid(), 1.0, "another boot", 1)  # a number that a process of this machine has
    dead = replace(Identity.of_this_process(), id="dead", host="gone", process=process)
    heart = Heart(folder.workers, Worker(dead, 1.0))
    heart.beat()
    share = Share(folder, heart, [identity(run) for run in RUNS])
    by_name = {identity(run): run for run in RUNS}
    share.make_plan(
        lambda names: [[identity(run) for run in bank] for bank in grouping.group([*map(by_name.get, names)], BANK)]
    )
    assert share.take(share.undone()) is not None
    long_ago = time.time() - 3600
    os.utime(heart.path, (long_ago, long_ago))


@pytest.mark.timeout(600)
def test_whatever_happens_to_the_jobs_the_table_is_the_local_one(
    slurm: Cluster, local: Callable[[], pd.DataFrame], small_disk: Path, tmp_path: Path
) -> None:
    folder = SweepFolder(small_disk / "sweep")
    leave_a_claim_of_a_dead_host(folder)
    (folder.path / JOBS_FOLDER).symlink_to(tmp_path)  # what they say has room
    settings = {
        **slurm.environment,
        "OMP_NUM_THREADS": "1",
        "BEFT_BEAT_SECONDS": "0.2",
        "BEFT_CLAIM_SECONDS": "3",
        "BEFT_CHECKPOINT_SECONDS": "0.2",
    }
    words = [*GRID, *JOBS, "--out", str(folder.path), "--max-jobs"]
    both = {
        jobs: prepared.start([*words, jobs, "--detach"], tmp_path / f"submission of {jobs}", **settings)
        for jobs in ("2", "1")
    }
    for jobs, one in both.items():
        assert one.wait(PATIENCE) == 0, one.said()
        assert f"submitted {jobs} job" in one.stdout.read_text() and "for 24 fine-tunes" in one.stdout.read_text()
    assert len(slurm.jobs()) == 3

    # The time of a job is nearly up: it saves and queues itself again.
    timed = one_at_work(folder)
    slurm.run("scancel", "--signal=USR1", str(timed.job))
    until(lambda: timed.identity.is_gone())
    until(lambda: "Restarts=1" in slurm.run("scontrol", "show", "job", str(timed.job)))

    # A worker is killed, the disk is full, and the controller is started anew; the other waits for room.
    killed = one_at_work(folder, timed)
    os.kill(killed.identity.process.pid, signal.SIGKILL)
    filler = small_disk / "filler"
    if small_disk.is_mount():
        fill(filler)
    slurm.stop_controller()
    slurm.start_controller()
    if small_disk.is_mount():
        until(lambda: fill(filler) or any("waiting up to" in log.read_text() for log in tmp_path.glob("*_log.out")))
        filler.unlink()

    # A job is cancelled.
    cancelled = one_at_work(folder, timed, killed)
    slurm.run("scancel", str(cancelled.job))

    waits = prepared.start([*words, "1"], tmp_path / "the same again", **settings)
    assert waits.wait(PATIENCE) == 0, waits.said() + slurm.said()
    table = read_table(folder.path).drop(columns=OF_THE_MACHINE)
    pd.testing.assert_frame_equal(table, local())
    workers = workers_in(folder.workers)
    assert len(workers) > 4  # the dead one, those of the first jobs, and the last one
    assert sum(one.trained for one in workers) <= len(RUNS) + BANK, "something was trained twice"
    assert not list(folder.path.glob("bank-*"))
    with suppress(AssertionError):
        slurm.run("scancel", "--user=root")


@pytest.mark.timeout(600)
def test_a_run_is_started_watched_and_ended_through_the_scheduler(
    slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KNOWN_SECONDS", 0.2)
    for name, value in {**slurm.environment, "OMP_NUM_THREADS": "1", "BEFT_BEAT_SECONDS": "0.2"}.items():
        monkeypatch.setenv(name, value)
    jobs = {"partition": "cpu", "gpus": 0, "max_jobs": 1, "time": "10m"}
    small = replace(SPEC, terms=("v", "q"), lrs=(1e-2,), settings={**SPEC.settings, "epochs": 1})
    run = launch("sweep", small, tmp_path / "home", executor="slurm", settings=jobs)
    assert run.status().state == "queued" and len(str(run.recorded().job).split()) == 1
    until(lambda: not run.status().active)
    assert run.status().state == "done", run.recorded().message
    assert len(read_table(run.sweep)) == 4 and run.recorded().host is not None

    endless = replace(small, settings={**SPEC.settings, "epochs": 10_000})
    run = launch("sweep", endless, tmp_path / "home", executor="slurm", settings={**jobs, "max_jobs": 2})
    assert len(str(run.recorded().job).split()) == 2
    one_at_work(SweepFolder(run.sweep))  # the run's own job or the one that helps it: there is one pass
    until(lambda: run.status().stage == "train")
    run.ask_cancel()
    until(lambda: not run.status().active)
    assert run.status().state == "cancelled"
    until(lambda: list(run.sweep.glob("bank-*")))  # it can be gone on with
    ids = str(run.recorded().job).split()
    until(lambda: all(state not in ("PENDING", "RUNNING") for job, state in slurm.jobs().items() if job in ids))


def test_what_slurm_does_not_take_is_one_line(slurm: Cluster, tmp_path: Path) -> None:
    words = [*GRID, "--executor", "slurm", "--partition", "moon", "--gpus", "0", "--out", str(tmp_path / "sweep")]
    refused = prepared.start([*words, "--detach"], tmp_path / "refused", **slurm.environment)
    assert refused.wait(PATIENCE) == 2
    (line,) = [line for line in refused.said().splitlines() if line.startswith("beft: ")]
    assert "Slurm refuses the job" in line and "partition" in line
