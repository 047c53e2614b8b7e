"""Options that say where and by how many workers a sweep is done: on the command line and in a file, checked early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_runner import assert_refused, beft

from beft_core.cli import sweep
from beft_core.cli.workers import options
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.sharing.result import SweepResult
from beft_core.sweeps.store import SweepFolder

GRID = ["--terms", "v", "--n-train", "8", "--device", "cpu"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--workers", "0"], "got --workers 0; expected from 1 to 256"),
        (["--workers", "many"], "--workers"),
        (["--devices", "cuda:99"], "got --devices cuda:99"),
    ],
)
def test_wrong_ones_are_one_line(flags: list[str], words: str, tmp_path: Path) -> None:
    assert words in assert_refused(beft("sweep", *GRID, "--out", tmp_path / "out", *flags))


def test_they_reach_the_workers_from_flags_and_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def here(spec: Any, folder: Any, observer: Any, **how: Any) -> SweepResult:
        asked.append(how)
        folder.begin(spec)
        return SweepResult(1, 0, 0, 0, 0.0, False)

    monkeypatch.setattr(sweep, "sweep_here", here)
    monkeypatch.setattr(sweep, "places", lambda *_: [])
    monkeypatch.setattr(sweep, "at_once", lambda *_: 2)
    flags = ["--devices", "cuda:1", "cuda:0", "--workers", "4", "--bank-size", "3", "--no-snapshots"]
    assert beft("sweep", *GRID, "--out", tmp_path / "a", *flags).status == 0
    file = tmp_path / "sweep.yaml"
    file.write_text("terms: [v]\nn_train: 8\ndevice: cpu\nworkers: 2\ndevices: ['cuda:1', 'cuda:0']\n")
    assert beft("sweep", "--config", file, "--out", tmp_path / "b", "--workers", "4").status == 0
    assert asked[0] == {"bank_size": 3, "keep": Kept(snapshots=False), "devices": ["cuda:1", "cuda:0"], "workers": 4}
    assert (asked[1]["devices"], asked[1]["workers"]) == (["cuda:1", "cuda:0"], 4)
    printed = yaml.safe_load(beft("sweep", "--config", file, "--print-config").out)
    assert (printed["workers"], printed["devices"]) == (2, ["cuda:1", "cuda:0"])
    on_cpus = beft("sweep", *GRID, "--executor", "slurm", "--gpus", "0", "--print-config")
    assert yaml.safe_load(on_cpus.out)["gpus"] == 0, "without it a job asks for a GPU"


def test_help_groups_them() -> None:
    said = beft("sweep", "--help").out
    assert "--devices NAME..." in said and "--workers N" in said
    assert options.Workers is not None


def test_a_batch_file_is_printed_from_flags_and_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "home"))
    out, more = tmp_path / "out", ["--seeds", "12", "--executor", "slurm", "--print-sbatch"]
    flags = ["--partition", "gpu", "--max-jobs", "3", "--time", "90m", "--setup", "module load cuda", "--setup", "a b"]
    told = beft("sweep", *GRID, "--out", out, *more, *flags)
    assert told.status == 0, told.err
    lines = told.out.splitlines()
    assert {"#SBATCH --partition=gpu", "#SBATCH --time=90", "#SBATCH --array=0-2%3", "module load cuda", "a b"} <= {
        *lines
    }
    assert SweepFolder(out).spec().seeds == tuple(range(12)), "a job that somebody submits is a worker of this sweep"
    output = next(line for line in lines if line.startswith("#SBATCH --output="))
    assert Path(output.partition("=")[2].strip("'")).parent.is_dir(), "where a job cannot write, Slurm ends it"
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "terms: [v]\nn_train: 8\ndevice: cpu\nseeds: 12\nexecutor: slurm\npartition: gpu\nmax_jobs: 3\ntime: 90m\n"
        "setup: [module load cuda, a b]\n"
    )
    assert beft("sweep", "--config", file, "--out", out, "--print-sbatch").out == told.out
    (tmp_path / "home" / "clusters").mkdir(parents=True)
    (tmp_path / "home" / "clusters" / "lab.yaml").write_text("partition: slow\nmax_jobs: 3\ntime: 90m\n")
    by_profile = beft("sweep", *GRID, "--out", out, *more, "--profile", "lab", *flags[:2], *flags[-4:])
    assert by_profile.out == told.out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--partition", "gpu"], "got --partition without --executor slurm"),
        (["--print-sbatch"], "got --print-sbatch without --executor slurm"),
        (["--executor", "moon"], "got --executor moon; expected one of local, slurm"),
        (["--executor", "slurm", "--workers", "2"], "got --workers with --executor slurm"),
        (["--executor", "slurm", "--time", "soon"], "got --time"),
        (["--executor", "slurm", "--profile", "none"], "got --profile none"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    flags: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "home"))
    assert words in assert_refused(beft("sweep", *GRID, "--out", tmp_path / "out", *flags))
    assert not (tmp_path / "out").exists()
