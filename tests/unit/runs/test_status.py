"""The state of a run as its file says it."""

import json
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from beft_core.process_id import ProcessId
from beft_core.runs.run import Run
from beft_core.runs.status import Status


def me() -> ProcessId:
    return ProcessId.of(psutil.Process())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create("train", {"task": "sst2", "batch_size": 16}, tmp_path)


def test_status_survives_the_file(run: Run) -> None:
    status = Status(
        "running", created=1.0, began=2.0, process=me(), device="cpu", stage="train", stage_began=3.0, done=5, total=10
    )
    run.write_status(status)
    assert run.status() == run.recorded() == status


def test_a_status_of_an_earlier_version_is_read(run: Run) -> None:
    process = {"pid": me().pid, "started": me().started}
    (run.path / "status.json").write_text(json.dumps({"state": "running", "created": 1.0, "process": process}))
    assert run.status().state == "running" and run.recorded().process == ProcessId(me().pid, me().started)
    process["started"] -= 10
    (run.path / "status.json").write_text(json.dumps({"state": "running", "created": 1.0, "process": process}))
    assert run.status().state == "lost"


def test_remaining_time_needs_some_progress() -> None:
    status = Status("running", created=0, stage_began=100.0, done=25, total=100)
    assert status.fraction == 0.25 and status.remaining_seconds(110.0) == pytest.approx(30.0)
    assert replace(status, done=1).remaining_seconds(110.0) is None
    assert replace(status, total=None).fraction is None
