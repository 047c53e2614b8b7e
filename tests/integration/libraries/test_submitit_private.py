"""submitit's private ways, as its version here has them."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("submitit")

from beft_core.libraries.submitit_private import CommandExecutor


def test_a_batch_file_is_one_command_of_ours(tmp_path: Path) -> None:
    one = CommandExecutor(tmp_path / "jobs", {"time": 5, "partition": "gpu"}, 1).batch_file("beft worker x")
    assert "#SBATCH --partition=gpu" in one and "--array" not in one
    assert sum("beft worker x" in line for line in one.splitlines()) == 1
    assert "#SBATCH --array=0-3%4" in CommandExecutor(tmp_path / "jobs", {"time": 5}, 4).batch_file("x")


def test_a_parameter_that_it_does_not_know_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="moon"):
        CommandExecutor(tmp_path / "jobs", {"moon": 1}, 1)
