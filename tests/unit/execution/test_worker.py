"""Real worker processes with a played workflow: end, cancel, crash, kill, queue."""

import importlib.metadata
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from fake_worker import small_snapshot
from filelock import FileLock, Timeout
from gguf_files import whole

from beft_core.errors import UserError
from beft_core.execution import cancel as cancel_module
from beft_core.execution import local, start, worker
from beft_core.execution.cancel import cancel
from beft_core.execution.queue import Queue
from beft_core.files import disk
from beft_core.models.gguf import convert
from beft_core.process_id import ProcessId
from beft_core.runs.predictions import read_predictions
from beft_core.runs.run import Run, list_runs
from beft_core.runs.status import Status
from beft_core.snapshots.snapshot import read_snapshot
from beft_core.tasks.predictions import Predictions
from beft_core.training.observer import Observer

FAKE = Path(__file__).parents[2] / "fake_worker.py"


@pytest.fixture(autouse=True)
def played(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(local, "worker_command", lambda run: [sys.executable, str(FAKE), str(run.path)])
    monkeypatch.setattr(cancel_module, "TERMINATE_AFTER", 0.4)
    monkeypatch.setattr(cancel_module, "KILL_AFTER", 1.6)
    yield
    for run in list_runs(tmp_path):
        process = run.recorded().process
        if process is not None and process.pid != os.getpid() and (found := process.find()) is not None:
            found.kill()


def begin(root: Path, act: str, kind: str = "train", **config: Any) -> Run:
    run = Run.create(kind, {"act": act, "device": "cpu", **config}, root)
    start.start_worker(run)
    return run


def wait(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def ended(run: Run) -> Callable[[], bool]:
    return lambda: not run.status().active


def in_stage(run: Run, stage: str) -> Callable[[], bool]:
    return lambda: run.status().stage == stage


def test_a_run_from_launch_to_done(tmp_path: Path) -> None:
    run = begin(tmp_path, "train", kind="select")
    wait(ended(run))
    status = run.status()
    assert status.state == "done" and status.message is None, run.log_tail()
    assert status.began and status.ended and status.created <= status.began <= status.ended
    assert read_snapshot(run.snapshot).meta.null_terms == ("k",)
    assert "projection_ratio" in run.result.read_text()
    records, _ = run.read_metrics()
    kinds = [record["type"] for record in records]
    assert kinds[:2] == ["stage", "stage"] and "step" in kinds and kinds[-1] == "epoch"
    last = [record for record in records if record["type"] == "step"][-1]
    assert (last["step"], last["total"]) == (20, 20) and len(last["loss"]) == 1
    assert Queue("cpu", tmp_path).waiting() == []


@pytest.mark.parametrize(
    ("act", "words", "proposal"),
    [
        ("crash", "ZeroDivisionError: a defect", "log"),
        ("wrong", "got 3 layers; expected 6", "Try another model"),
        ("memory", "Memory ran out", "--batch-size 4 (it was 8)"),
    ],
)
def test_failures_are_told_in_words(tmp_path: Path, act: str, words: str, proposal: str) -> None:
    run = begin(tmp_path, act, batch_size=8)
    wait(ended(run))
    status = run.status()
    assert status.state == "failed" and words in str(status.message) and proposal in str(status.proposal)
    assert not run.snapshot.exists()
    assert any("ZeroDivisionError" in line for line in run.log_tail()) == (act == "crash")


def test_a_result_waits_for_room_and_done_for_the_result(tmp_path: Path) -> None:
    failures = {"snapshot.beft.safetensors": 3, "status.json": 4, "result.json": 3}
    run = begin(tmp_path, "full disk", kind="select", failures=failures)
    wait(ended(run))
    assert run.status().state == "done", run.status()
    assert read_snapshot(run.snapshot).keys() and "projection_ratio" in run.result.read_text()
    told = [record["text"] for record in run.read_metrics()[0] if record["type"] == "message"]
    assert [name for name in failures for text in told if f"/{name}: the disk is full" in text] == list(failures)[
        :2
    ]  # once


@pytest.mark.parametrize("name", ["snapshot.beft.safetensors", "result.json"])
def test_a_disk_that_stays_full_is_told_and_is_not_done(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFT_WAIT_FOR_ROOM", "0.1")
    run = begin(tmp_path, "full disk", kind="select", failures={name: 10**6})
    wait(ended(run))
    status = run.status()
    assert status.state == "failed" and f"{name}: the disk is full (" in str(status.message)
    assert "expected room for" in str(status.message) and "memory" not in str(status.proposal)
    assert f"on the disk of {run.path}, then resume the run" in str(status.proposal)


def test_a_worker_that_vanished_from_a_full_disk_was_not_short_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(tmp_path, "deaf")
    wait(in_stage(run, "load model"))
    os.kill(run.recorded().process.pid, signal.SIGKILL)
    wait(ended(run))
    assert "memory" in str(run.status().proposal)
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 4096)
    status = run.status()
    assert status.state == "lost" and "the disk is full (4.1 kB free)" in str(status.message)
    assert str(tmp_path) in str(status.proposal) and "memory" not in str(status.proposal)


@pytest.mark.parametrize("how", ["SIGKILL", "segfault"])
def test_a_worker_that_dies_silently_is_lost(tmp_path: Path, how: str) -> None:
    run = begin(tmp_path, "segfault" if how == "segfault" else "deaf")
    if how == "SIGKILL":
        wait(in_stage(run, "load model"))
        os.kill(run.recorded().process.pid, signal.SIGKILL)
    wait(ended(run))
    status = run.status()
    assert status.state == "lost" and "load model" in str(status.message)
    assert ("crashed during “load model”: Segmentation fault" in str(status.message)) == (how == "segfault")
    assert "out of memory: Take" in str(status.proposal) and "resumed" not in str(status.proposal)
    run.checkpoint.touch()
    assert "resumed from its checkpoint" in str(run.status().proposal)


def test_a_signal_from_outside_is_a_failure_with_its_name(tmp_path: Path) -> None:
    run = begin(tmp_path, "deaf")
    wait(in_stage(run, "load model"))
    os.kill(run.recorded().process.pid, signal.SIGTERM)
    wait(ended(run))
    assert run.status().state == "failed" and "SIGTERM" in str(run.status().message)


@pytest.mark.parametrize("act", ["train", "tokenise"])
def test_a_job_whose_time_is_nearly_up_is_queued_again(
    act: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/said\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    run = begin(tmp_path, act, steps=10_000)
    wait(in_stage(run, act))
    os.kill(run.recorded().process.pid, signal.SIGUSR1)
    wait(lambda: (tmp_path / "said").exists() and (tmp_path / "said").read_text())
    status = run.recorded()
    assert (status.state, status.process) == ("queued", None) and "goes on" in str(status.message)
    assert (tmp_path / "said").read_text() == "requeue 42\n" and not run.snapshot.exists()


def test_cancel_during_training_keeps_what_was_trained(tmp_path: Path) -> None:
    run = begin(tmp_path, "train", steps=10_000)
    wait(in_stage(run, "train"))
    cancel(run)
    assert run.status().state in ("cancelling", "cancelled")
    wait(ended(run))
    assert run.status().state == "cancelled" and "kept" in str(run.status().message)
    assert read_snapshot(run.snapshot).keys()


def test_cancel_while_tokenising_unwinds(tmp_path: Path) -> None:
    run = begin(tmp_path, "tokenise")
    wait(in_stage(run, "tokenise"))
    cancel(run)
    wait(ended(run))
    assert run.recorded().state == "cancelled" and not run.snapshot.exists()
    # Also of an evaluation, which trains nothing.
    assert run.recorded().message == "Cancelled before there was anything to keep." and not run.recorded().proposal


@pytest.mark.parametrize("act", ["deaf", "stubborn"])
def test_cancel_escalates_with_nobody_looking(tmp_path: Path, act: str) -> None:
    run = begin(tmp_path, act)
    wait(in_stage(run, "load model"))
    cancel(run)  # once: the worker does the rest to itself
    wait(ended(run))
    assert run.status().state == "cancelled"
    assert run.recorded().state == ("cancelled" if act == "deaf" else "running")


@pytest.mark.parametrize("frozen", [False, True])
def test_what_a_worker_started_is_killed_with_it(frozen: bool, tmp_path: Path) -> None:
    """Its own helpers, as of a data loader: whether it kills itself, or who looks does because it is frozen."""
    run = begin(tmp_path, "parent")
    wait(lambda: (run.path / "child").is_file() and (run.path / "child").read_text())  # it is there before its text
    child = psutil.Process(int((run.path / "child").read_text()))
    if frozen:
        os.kill(run.recorded().process.pid, signal.SIGSTOP)
    cancel(run)
    wait(lambda: (frozen and cancel(run)) or not run.status().active)
    try:
        wait(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    finally:
        if child.is_running():
            child.kill()


def test_a_frozen_worker_is_killed_by_who_looks(tmp_path: Path) -> None:
    run = begin(tmp_path, "deaf")
    wait(in_stage(run, "load model"))
    os.kill(run.recorded().process.pid, signal.SIGSTOP)
    wait(lambda: cancel(run) or not run.status().active)
    assert run.status().state == "cancelled"


def test_one_at_a_time_in_the_order_of_launching(tmp_path: Path) -> None:
    first = begin(tmp_path, "train", steps=10_000)
    second = begin(tmp_path, "train", steps=5)
    third = begin(tmp_path, "train", steps=5)
    wait(lambda: second.status().position == 1 and third.status().position == 2)
    assert Queue("cpu", tmp_path).waiting() == [first.id, second.id, third.id]
    cancel(first)
    wait(ended(third))
    spans = [(run.status().began, run.status().ended) for run in (first, second, third)]
    assert [run.status().state for run in (first, second, third)] == ["cancelled", "done", "done"]
    assert all(ended_at <= began for (_, ended_at), (began, _) in pairwise(spans))


def test_a_run_that_came_late_does_not_push_in(tmp_path: Path) -> None:
    older = Run.create("train", {"device": "cpu"}, tmp_path)
    at_work = begin(tmp_path, "train", steps=10_000)
    wait(in_stage(at_work, "train"))
    start.start_worker(older)
    wait(lambda: older.status().position == 1)
    cancel(at_work)
    wait(ended(older))
    assert older.status().state == "done"
    assert at_work.status().ended <= older.status().began


def test_the_queue_survives_the_death_of_its_holder(tmp_path: Path) -> None:
    first = begin(tmp_path, "deaf")
    second = begin(tmp_path, "train")
    wait(lambda: second.status().position == 1)
    os.kill(first.recorded().process.pid, signal.SIGKILL)
    wait(ended(second))
    assert (first.status().state, second.status().state) == ("lost", "done")


def test_a_queued_run_can_be_cancelled(tmp_path: Path) -> None:
    first, second = begin(tmp_path, "deaf"), begin(tmp_path, "train")
    wait(lambda: second.status().position == 1)
    cancel(second)
    wait(ended(second))
    assert second.status().state == "cancelled" and first.status().active


def test_other_devices_do_not_wait(tmp_path: Path) -> None:
    begin(tmp_path, "deaf")
    other = begin(tmp_path, "train", device="cuda")
    wait(ended(other))
    assert other.status().state == "done"


def test_a_lost_run_can_be_resumed_and_a_done_one_not(tmp_path: Path) -> None:
    run = begin(tmp_path, "train", steps=10_000)
    wait(in_stage(run, "train"))
    os.kill(run.recorded().process.pid, signal.SIGKILL)
    wait(ended(run))
    with run.metrics.open("ab") as file:
        file.write(b'{"type": "st')
    before = len(run.read_metrics()[0])
    start.resume(run)
    wait(in_stage(run, "train"))
    wait(lambda: len(run.read_metrics()[0]) > before)
    cancel(run)
    wait(ended(run))
    done = begin(tmp_path, "train")
    wait(ended(done))
    with pytest.raises(UserError, match="is done"):
        start.resume(done)


def test_a_resumed_run_waits_behind_those_that_came_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Started:
        def __init__(self, *_: object, **__: object) -> None:
            first.write_status(Status("queued", created=time.time(), process=ProcessId.of(psutil.Process())))

        def poll(self) -> None:
            pass

    queue = Queue("cpu", tmp_path)
    first, second = (Run.create("train", {"device": "cpu"}, tmp_path) for _ in range(2))
    for run in (first, second):
        queue.join(run)
    first.write_status(Status("failed", created=1.0))  # killed, with its ticket where it was
    monkeypatch.setattr(local.subprocess, "Popen", Started)
    start.resume(first)
    assert queue.waiting() == [second.id, first.id]


_RESUME = """
import sys
from pathlib import Path
from beft_core.errors import UserError
from beft_core.execution import local, start
from beft_core.runs.run import Run
local.worker_command = lambda run: [sys.executable, sys.argv[2], str(run.path)]
input()
try:
    start.resume(Run(Path(sys.argv[1])))
except UserError as error:
    print(error)
else:
    print("started")
"""


def test_four_that_resume_a_run_at_once_start_one_worker(tmp_path: Path) -> None:
    run = begin(tmp_path, "train", steps=10_000)
    wait(in_stage(run, "train"))
    os.kill(run.recorded().process.pid, signal.SIGKILL)
    wait(ended(run))
    began = [record for record in run.read_metrics()[0] if record.get("name") == "load model"]
    four = [
        subprocess.Popen(
            [sys.executable, "-c", _RESUME, str(run.path), str(FAKE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in four:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = sorted(process.communicate(timeout=60)[0].strip() for process in four)
    assert said.count("started") == 1, said
    # Who comes while the run is being started waits for that, and on a busy machine not long enough.
    told = re.compile(r"process \d+, since 20|just being started, is in use by another process")
    assert all(told.search(words) for words in said if words != "started"), said
    wait(in_stage(run, "train"))
    stages = [record for record in run.read_metrics()[0] if record.get("name") == "load model"]
    assert len(stages) == len(began) + 1
    assert [p.pid for p in psutil.process_iter() if str(run.path) in _words(p)] == [run.recorded().process.pid]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_second_worker_ends_without_touching_the_run(tmp_path: Path) -> None:
    run = begin(tmp_path, "train", steps=10_000)
    wait(in_stage(run, "train"))
    at_work = run.recorded().process
    second = subprocess.run([sys.executable, str(FAKE), str(run.path)], capture_output=True, text=True, timeout=60)
    assert second.returncode == 2 and f"in use by process {at_work.pid}, since 20" in second.stderr
    assert run.status().active and run.recorded().process == at_work
    with pytest.raises(UserError, match=rf"is running \(process {at_work.pid}, since 20"):
        start.resume(run)


@pytest.mark.parametrize("fails", [None, "snapshot.beft.safetensors", "result.json"])
def test_done_is_said_only_when_the_files_are_there(
    fails: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process: what the status says at each write, and what it says if one of them fails."""
    run = Run.create("select", {"device": "cpu"}, tmp_path)
    seen: dict[str, str] = {}

    def watched(write: Callable[..., None]) -> Callable[..., None]:
        def first_look(path: Path, *content: Any) -> None:
            seen[path.name] = run.recorded().state
            if path.name == fails:
                raise UserError("the disk is full")
            write(path, *content)

        return first_look

    monkeypatch.setattr(worker, "write_snapshot", watched(worker.write_snapshot))
    monkeypatch.setattr(worker, "atomic_write", watched(worker.atomic_write))
    monkeypatch.setattr(worker, "_listen_to_signals", lambda: None)
    monkeypatch.setattr(worker, "_attend", lambda run: None)
    status = worker.work(run, lambda *_: (small_snapshot(), {"selected": {"projection_ratio": "v"}}))
    expected = ["snapshot.beft.safetensors"] if fails and "snapshot" in fails else [run.snapshot.name, run.result.name]
    assert seen == dict.fromkeys(expected, "running")
    assert (status, run.recorded().state) == ((1, "failed") if fails else (0, "done"))
    assert run.result.exists() == (fails is None)


@pytest.mark.parametrize("scored", [True, False])
def test_predictions_lie_beside_the_snapshot_that_made_them(
    scored: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create("train", {"device": "cpu"}, tmp_path)
    run.predictions.write_bytes(b"of an earlier try")
    monkeypatch.setattr(worker, "_listen_to_signals", lambda: None)
    monkeypatch.setattr(worker, "_attend", lambda run: None)
    made = Predictions("t", np.array([3, 4]), np.zeros(2), np.float32([[1, 2], [3, 4]]))

    def workflow(_kind: str, _fields: dict[str, Any], observer: Observer, _checkpoint: Path) -> Any:
        if scored:
            observer.predicted(made)
        return small_snapshot(), None

    assert worker.work(run, workflow) == 0
    if scored:
        (found,) = read_predictions(run.predictions)
        np.testing.assert_array_equal(found.logits, made.logits)
    else:
        assert not run.predictions.exists()


def test_a_conversion_is_a_stage_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "home"))
    run = Run.create("train", {"device": "cpu"}, tmp_path)
    monkeypatch.setattr(worker, "_listen_to_signals", lambda: None)
    monkeypatch.setattr(worker, "_attend", lambda run: None)
    monkeypatch.setattr(convert, "require_reader", lambda name: None)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9")
    file, seen = tmp_path / "model.gguf", []
    file.write_bytes(whole())

    def convert_it(file: Path, made: Path, memory: int, tell: Callable[[float], None]) -> float:
        for share in (0.2, 0.5):
            tell(share)
            monkeypatch.setattr("beft_core.execution.reporter.STATUS_SECONDS", 0.0)
            seen.append(run.recorded())
        return 3.0

    def workflow(_kind: str, _fields: dict[str, Any], observer: Observer, _checkpoint: Path) -> Any:
        convert.converted(file)
        seen.append(run.recorded())
        return small_snapshot(), None

    monkeypatch.setattr(convert, "_run", convert_it)
    assert worker.work(run, workflow) == 0
    assert [(one.stage, one.done, one.total) for one in seen] == [
        ("convert the model, once", 0, 100),
        ("convert the model, once", 50, 100),
        ("load model", 0, None),
    ]


def test_a_snapshot_that_cannot_be_read_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create("train", {"device": "cpu"}, tmp_path)
    monkeypatch.setattr(worker, "write_snapshot", lambda path, _: path.write_bytes(b"half of it"))
    monkeypatch.setattr(worker, "_listen_to_signals", lambda: None)
    monkeypatch.setattr(worker, "_attend", lambda run: None)
    assert worker.work(run, lambda *_: (small_snapshot(), None)) == 1 and run.recorded().state == "failed"


def test_a_run_has_ended_before_the_next_one_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last word is spoken while it still holds the device, whether it is done or failed."""
    monkeypatch.setattr(worker, "_listen_to_signals", lambda: None)
    monkeypatch.setattr(worker, "_attend", lambda run: None)
    free: list[bool] = []
    write = Run.write_status

    def noted(run: Run, status: Status) -> None:
        if status.ended is not None:
            free.append(not _held(Queue("cpu", tmp_path).lock_file))
        write(run, status)

    monkeypatch.setattr(Run, "write_status", noted)
    for outcome in (lambda *_: (None, None), lambda *_: 1 / 0):
        worker.work(Run.create("train", {"device": "cpu"}, tmp_path), outcome)  # type: ignore[arg-type]
    assert free == [False, False]


def _held(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def test_a_worker_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "worker_command", lambda run: [sys.executable, "-c", "raise SystemExit('no numpy')"])
    run = Run.create("train", {}, tmp_path)
    with pytest.raises(UserError, match=r"did not start .*no numpy"):
        start.start_worker(run)
    assert run.status().state == "failed"


def test_worker_outlives_its_launcher(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from beft_core.execution import local, start; from beft_core.runs.run import Run\n"
        f"local.worker_command = lambda run: [sys.executable, {str(FAKE)!r}, str(run.path)]\n"
        f"start.start_worker(Run.create('train', {{'steps': 10_000}}, Path({str(tmp_path)!r})))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, start_new_session=True, timeout=30)
    (run,) = list_runs(tmp_path)
    wait(in_stage(run, "train"))
    cancel(run)
    wait(ended(run))
    assert run.recorded().state == "cancelled"


def test_worker_without_a_run_folder_is_told_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "beft_core.execution.worker", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 2 and "expected python -m beft_core.execution.worker RUN_DIR" in done.stderr
