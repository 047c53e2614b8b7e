"""Slurm through its commands, played by scripts: what is submitted, who is asked, what ends it."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.execution import start, workflows
from beft_core.execution.cancel import cancel as cancel_run
from beft_core.execution.clusters import slurm
from beft_core.execution.clusters.settings import Cluster
from beft_core.execution.clusters.slurm import queued, script, submit
from beft_core.runs.run import Run
from beft_core.sweeps.rows import MEMORY_RAN_OUT, plan_columns
from beft_core.sweeps.sharing.result import SweepResult
from beft_core.sweeps.sharing.share import Sharing
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer

SPEC = SweepSpec.from_dict({"terms": ["v"], "seeds": 2, "n_train": 8, "device": "cpu"})


class Played:
    """Commands of Slurm that write down how they were called."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "number").write_text("40")
        self.answer("sbatch", 'n=$(($(cat "$D/number") + 1)); echo $n > "$D/number"; echo "Submitted batch job $n"')
        self.answer("squeue", "echo PENDING")
        self.answer("scancel", "true")
        self.answer("scontrol", "true")
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def answer(self, command: str, line: str) -> None:
        file = self.folder / command
        file.write_text(f'#!/bin/sh\nD={self.folder}\necho "{command} $@" >> "$D/calls"\n{line}\n')
        file.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    pytest.importorskip("submitit")
    slurm._KNOWN.clear()
    return Played(tmp_path / "bin", monkeypatch)


def test_a_batch_file_starts_our_command_and_pickles_nothing(played: Played, tmp_path: Path) -> None:
    cluster = Cluster(partition="gpu", time="90m", setup=("module load cuda",), sbatch=("nice=5",), max_jobs=3)
    text = script(["beft", "worker", "/shared/my sweep"], "beft-x", cluster, tmp_path / "jobs", 3)
    lines = text.splitlines()
    flags = ["--partition=gpu", "--time=90", "--gpus-per-node=1", "--nice=5", "--signal=USR1@120", "--requeue"]
    assert all(f"#SBATCH {flag}" in lines for flag in [*flags, "--array=0-2%3", "--job-name=beft-x"])
    assert "module load cuda" in lines and "wckey" not in text and "pickle" not in text
    (command,) = (line for line in lines if line.startswith("srun"))
    assert command.endswith("beft worker '/shared/my sweep'")
    assert played.calls == [] and not (tmp_path / "jobs").exists()


@pytest.mark.parametrize(("name", "inside"), [("beft-x\ndate #", "jobs"), ("beft-x", "x\ndate #")])
def test_the_name_of_a_folder_is_no_line_of_the_batch_file(name: str, inside: str, tmp_path: Path) -> None:
    """A sweep's file, of which ``out`` may be a stranger's, names the folder."""
    with pytest.raises(UserError, match="a folder whose name has one line"):
        script(["beft"], name, Cluster(), tmp_path / inside)


def test_a_refusal_is_told_in_slurms_words(played: Played, tmp_path: Path) -> None:
    assert submit(["beft"], "x", Cluster(), tmp_path / "jobs") == "41"
    played.answer("sbatch", "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1")
    with pytest.raises(UserError, match=r"Slurm refuses the job.*invalid partition specified: gpu"):
        submit(["beft"], "x", Cluster(), tmp_path / "jobs")


def test_without_slurm_or_submitit_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="on a machine without sbatch"):
        submit(["beft"], "x", Cluster(), tmp_path / "jobs")
    assert queued("41") is None
    slurm.cancel("41")
    monkeypatch.setattr("beft_core.extras.importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="without submitit; expected the extra slurm"):
        script(["beft"], "x", Cluster(), tmp_path / "jobs")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("echo PENDING", True),
        ("echo RUNNING", True),
        ("printf 'COMPLETED\\nRUNNING\\n'", True),  # of an array
        ("echo REQUEUED", True),
        ("printf 'COMPLETED\\nCANCELLED\\n'", False),
        ("true", False),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", False),
        ("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1", None),
    ],
)
def test_squeue_is_asked_whether_a_job_waits_or_works(line: str, expected: bool | None, played: Played) -> None:
    played.answer("squeue", line)
    assert queued("41") is expected
    assert queued("41") is expected and len(played.calls) == 1  # for some seconds the answer is kept


def test_a_status_of_a_stranger_gives_slurm_no_flags(played: Played) -> None:
    slurm.cancel("--user=root")
    assert queued("--user=root") is None and played.calls == []
    slurm.cancel("--user=root 41 42_3")
    assert played.calls == ["scancel 41 42_3"]


def test_a_run_is_its_job_and_its_signs_of_life(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "require_training", lambda: None)
    run = start.launch("train", RunConfig(device="cpu"), tmp_path / "home", executor="slurm", settings={"gpus": 0})
    assert (run.recorded().executor, run.recorded().job) == ("slurm", "41")
    assert [call.split()[0] for call in played.calls] == ["sbatch", "scontrol"] and "release 41" in played.calls[1]
    (batch,) = (run.path / "jobs").glob("[!.]*.sh")
    assert "#SBATCH --hold" in batch.read_text() and str(run.path) in batch.read_text()
    run.write_status(replace(run.recorded(), created=1.0))  # it may wait for days
    assert run.status().state == "queued"
    slurm._KNOWN.clear()
    played.answer("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    os.utime(run.path / "status.json", (1.0, 1.0))
    assert run.status().state == "queued", "a controller that is down has lost no job"
    slurm._KNOWN.clear()
    played.answer("squeue", "true")
    assert run.status().state == "lost"
    calls = len(played.calls)
    slurm._KNOWN.clear()
    here = replace(run.recorded(), state="running", process=None)
    run.write_status(here)
    then = time.time() - 3600
    os.utime(run.path / "status.json", (then, then))
    assert run.status().state == "lost" and len(played.calls) == calls + 1


def test_a_sweep_that_is_started_again_has_jobs_for_what_lacked_memory(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "require_training", lambda: None)
    run = start.launch("sweep", SPEC, tmp_path / "home", executor="slurm", settings={"max_jobs": 3, "gpus": 0})
    folder, config = SweepFolder(run.sweep), SPEC.runs()[0]
    folder.save({**plan_columns(config), "state": "failed", "failure": MEMORY_RAN_OUT}, None)
    folder.write_table(SPEC.runs())
    run.write_status(replace(run.recorded(), state="done", ended=2.0))
    start.resume(run)
    assert folder.marked_again() == {identity(config)} and len(folder.table(SPEC.runs())) == 1


def test_a_sweep_has_helpers_that_leave_when_it_is_cancelled(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "require_training", lambda: None)
    settings = {"max_jobs": 3, "partition": "cpu", "gpus": 0}
    run = start.launch("sweep", SPEC, tmp_path / "home", executor="slurm", settings=settings)
    assert run.recorded().job == "41 42" and SweepFolder(run.sweep).spec() == SPEC
    texts = [path.read_text() for path in (run.path / "jobs").glob("[!.]*.sh")]
    (helper,) = (text for text in texts if "beft_core worker" in text)
    assert f"--unless {run.cancel_file}" in helper and "--array=0-1%2" in helper and "--hold" not in helper
    planned: list[int] = []

    def run_sweep(*_: object, sharing: Sharing, **__: object) -> SweepResult:
        planned.append(sharing.workers)
        return SweepResult(2, 2, 0, 1, 1.0, False)

    monkeypatch.setitem(sys.modules, "beft_core.sweeps.runner", SimpleNamespace(run_sweep=run_sweep))
    workflows.sweep(SPEC.to_dict(), Observer(), run.checkpoint)
    assert planned == [3] and "--workers 3" in helper, "whoever is first plans for all"
    monkeypatch.setattr(Run, "cancel_age", lambda run: 9.0)
    cancel_run(run)
    assert played.calls[-1] == "scancel 41 42"


def test_what_cannot_be_released_or_submitted_leaves_no_job(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "require_training", lambda: None)
    played.answer("scontrol", "exit 1")
    with pytest.raises(UserError, match="does not release its job 41"):
        start.launch("train", RunConfig(device="cpu"), tmp_path / "home", executor="slurm")
    assert "scancel 41" in played.calls
    with pytest.raises(UserError, match="got the cluster's setting 'moon'"):
        start.launch("train", RunConfig(device="cpu"), tmp_path / "home", executor="slurm", settings={"moon": 1})
