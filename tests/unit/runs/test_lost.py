"""What is said of a worker that is gone, by what it left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from beft_core.process_id import ProcessId
from beft_core.runs import lost
from beft_core.runs.lost import how_it_ended, what_to_do
from beft_core.runs.status import Status

ME = ProcessId.of(psutil.Process())
STATUS = Status("running", created=1.0, process=ME, stage="train", done=3, total=9)


def test_it_vanished_where_nothing_else_is_known(tmp_path: Path) -> None:
    text = how_it_ended(STATUS, tmp_path, 5.0, ["the last line"])
    assert text.startswith(f"The worker (process {ME.pid}) vanished during “train” (3 of 9) without a word")
    assert "(process) vanished without" in how_it_ended(Status("queued", created=1.0), tmp_path, 5.0, [])


def test_the_last_word_of_the_interpreter_is_the_cause(tmp_path: Path) -> None:
    log = ["a line", "Fatal Python error: Segmentation fault", "Current thread 0x1:"]
    assert how_it_ended(STATUS, tmp_path, 5.0, log).endswith("crashed during “train” (3 of 9): Segmentation fault.")


def test_a_full_disk_is_named_and_is_what_to_put_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost, "shortage", lambda folder: "12 kB")
    assert "the disk is full (12 kB free)" in how_it_ended(STATUS, tmp_path, 5.0, [])
    proposal = what_to_do(tmp_path, {"batch_size": 16}, resumable=True)
    assert str(tmp_path) in proposal and "batch" not in proposal and "can be resumed" in proposal


def test_of_another_machine_only_the_silence_is_known(tmp_path: Path) -> None:
    there = replace(STATUS, host="elsewhere", executor="slurm")
    if there.elsewhere is None:
        pytest.fail("a status of another host is elsewhere")
    assert "on elsewhere has given no sign of life for 20 minutes" in how_it_ended(there, tmp_path, 1200.0, [])


def test_a_smaller_batch_is_proposed_by_what_the_run_had(tmp_path: Path) -> None:
    proposal = what_to_do(tmp_path, {"batch_size": 16}, resumable=False)
    assert "--batch-size 8 (it was 16)" in proposal and "resumed" not in proposal
