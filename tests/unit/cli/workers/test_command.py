"""The command worker: what is refused, and its exit status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli_runner import assert_refused, beft

from beft_core.cli.workers import command
from beft_core.execution.leaving import UNFINISHED
from beft_core.execution.sweep_worker import Assignment
from beft_core.sweeps.sharing.kept import Kept


def test_a_folder_where_no_sweep_began_is_refused(tmp_path: Path) -> None:
    assert "sweep.json" in assert_refused(beft("worker", tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", ["--workers", "--bank-size"])
def test_numbers_that_make_no_sense_are_refused(flag: str, tmp_path: Path) -> None:
    assert f"got {flag} 0; expected at least 1" in assert_refused(beft("worker", tmp_path, flag, "0"))


def test_a_worker_that_left_says_so_and_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def work(folder: Any, observer: Any, given: Assignment, *, requeue: bool) -> int:
        asked.append({"folder": folder.path, **vars(given), "requeue": requeue})
        return UNFINISHED

    monkeypatch.setattr(command, "work", work)
    left = beft("worker", tmp_path, "--wait", "--workers", "3", "--bank-size", "5", "--no-snapshots", "--requeue")
    assert left.status == UNFINISHED and "the same command goes on" in left.err
    assert asked == [
        {
            "folder": tmp_path,
            "bank_size": 5,
            "keep": Kept(snapshots=False),
            "workers": 3,
            "wait": True,
            "device": None,
            "parent": None,
            "unless": None,
            "requeue": True,
        }
    ]
    assert "--parent" not in beft("worker", "--help").out
