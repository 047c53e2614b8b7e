"""Worker, the process that does a run: ``python -m beft_core.execution.worker RUN_DIR``.

torch is imported after the run's turn has come, so a queue of waiting runs costs little memory.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from beft_core.devices import queue_name
from beft_core.errors import UserError
from beft_core.execution.cancel import cancel
from beft_core.execution.executors import executor_of
from beft_core.execution.leaving import TIME_IS_UP, UNFINISHED
from beft_core.execution.reporter import Cancelled, Reporter
from beft_core.execution.sweep_worker import JOB, queue_again
from beft_core.execution.workflows import AnyWorkflow, real_workflow
from beft_core.files.disk import with_room
from beft_core.files.locks import hold
from beft_core.files.safe_io import atomic_write
from beft_core.models.gguf.convert import Progress, told_to
from beft_core.runs.failure import Terminated, explain
from beft_core.runs.kinds import KINDS
from beft_core.runs.predictions import write_predictions
from beft_core.runs.run import BEAT_SECONDS, Run
from beft_core.snapshots.snapshot import Snapshot, read_snapshot, write_snapshot
from beft_core.training.progress.checkpoint import CheckpointError

WATCH_SECONDS = 0.5


def main(arguments: Sequence[str], workflow: AnyWorkflow | None = None) -> int:
    """Do the run of a folder and return the exit status. ``workflow`` replaces the real one in tests."""
    if len(arguments) != 1 or not (Path(arguments[0]) / "config.json").is_file():
        sys.stderr.write("got no run folder; expected python -m beft_core.execution.worker RUN_DIR\n")
        return 2
    faulthandler.enable()
    return work(Run(Path(arguments[0]).resolve()), workflow or real_workflow)


def work(run: Run, workflow: AnyWorkflow) -> int:
    """Wait for the device, do the run, and write its files and its final state.

    A second worker of the same run ends at once, with a word in the log and without touching the run's files.
    """
    try:
        with hold(run.working, f"run {run.id}", "waiting for its end"):
            return _work(run, workflow)
    except UserError as error:  # of _work, nothing comes out
        sys.stderr.write(f"{error}\n")
        return 2


def _work(run: Run, workflow: AnyWorkflow) -> int:
    reporter: Reporter | None = None
    try:
        _listen_to_signals()
        kind, fields = run.config()
        device = KINDS[kind].device(fields)
        reporter = Reporter(run, queue_name(device))
        threading.Thread(target=_attend, args=(run,), daemon=True).start()
        _listen_to_scheduler(reporter)
        turn = executor_of(run).turn(run, device, reporter.should_stop, lambda ahead: reporter.write(position=ahead))
        with turn as ours:
            try:  # inside, because the next run may begin once the turn is over: this one has ended before
                if not ours:
                    raise Cancelled
                reporter.write(state="running", position=None, began=time.time())
                with told_to(_conversion(reporter)):
                    snapshot, result = workflow(kind, fields, reporter, run.checkpoint)
                if reporter.time_is_up and not reporter.stopped:
                    return _go_on_later(reporter)
                _save(run, snapshot, result, reporter)
                return _end(reporter)
            except BaseException as error:
                if isinstance(error, Cancelled) and reporter.time_is_up and not run.cancel_asked():
                    return _go_on_later(reporter)
                return _fail(run, reporter, error)
    except BaseException as error:
        return _fail(run, reporter, error)


def _conversion(reporter: Reporter) -> Progress:
    """Make a stage of the conversion of a GGUF file, which takes a minute and more before a model can be loaded."""
    percent: list[int] = []

    def tell(share: float) -> None:
        if share >= 1:
            reporter.stage("load model")
            return
        if not percent:
            reporter.stage("convert the model, once", 100)
            percent.append(0)
        reporter.advance(round(100 * share) - percent[0])
        percent[0] = round(100 * share)

    return tell


def _go_on_later(reporter: Reporter) -> int:
    """Leave a run to a later job, which goes on from the checkpoint."""
    status = replace(reporter.status, state="queued", process=None, message="The time of its job was up; it goes on.")
    reporter.run.write_status(status)
    queue_again()
    return UNFINISHED


def _end(reporter: Reporter) -> int:
    if not reporter.stopped:
        reporter.end("done")
        return 0
    reporter.end("cancelled", message="Cancelled; what was trained until then is kept.")
    return 1


def _save(run: Run, snapshot: Snapshot | None, result: dict[str, Any] | None, reporter: Reporter) -> None:
    """Write files first and the state after: "done" means that they are complete and can be read. A full disk is waited
    for.
    """
    reporter.write(stage="save", done=0, total=None, stage_began=time.time())

    def write() -> None:
        if snapshot is not None:
            write_snapshot(run.snapshot, snapshot)
            read_snapshot(run.snapshot)
        if reporter.predictions:
            write_predictions(run.predictions, reporter.predictions)
        else:
            run.predictions.unlink(missing_ok=True)  # of an earlier try, and not of this snapshot
        if result is not None:
            atomic_write(run.result, [json.dumps(result, indent=1).encode()])

    with_room(write, reporter.message, reporter.should_stop)


def _fail(run: Run, reporter: Reporter | None, error: BaseException) -> int:
    start_over = False
    if isinstance(error, Cancelled) or (isinstance(error, Terminated) and run.cancel_asked()):
        state, message, proposal = "cancelled", "Cancelled before there was anything to keep.", None
        if run.checkpoint.exists():
            message, proposal = "Cancelled.", "It can be resumed from its checkpoint."
        elif run.has_finished_parts():
            message, proposal = "Cancelled; the fine-tunes that are finished are kept.", "It can be resumed."
    else:
        if not isinstance(error, UserError):
            with suppress(OSError):  # the log may be on a full disk
                traceback.print_exception(error)
        state, (message, proposal) = "failed", explain(error, _settings(run))
        start_over = isinstance(error, CheckpointError)
    if reporter is not None:
        reporter.end(state, message=message, proposal=proposal, start_over=start_over)
    else:
        sys.stderr.write(f"{message}\n")
    return 1


def _settings(run: Run) -> dict[str, Any]:
    try:
        kind, fields = run.config()
        return dict(KINDS[kind].resources(fields))
    except UserError:
        return {}


def _listen_to_signals() -> None:
    """Let the first SIGTERM, SIGINT or SIGHUP unwind the worker; further ones would only disturb its final report."""
    ending = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]

    def end(number: int, _frame: object) -> None:
        for each in ending:
            signal.signal(each, signal.SIG_IGN)
        raise Terminated(number)

    for each in ending:
        signal.signal(each, end)


def _listen_to_scheduler(reporter: Reporter) -> None:
    """Let the signal by which Slurm says that a job's time is nearly up end the work with all of it kept."""
    if JOB not in os.environ:
        return

    def hear(number: int, frame: object) -> None:
        reporter.time_is_up = True

    for name in TIME_IS_UP:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), hear)


def _attend(run: Run) -> None:
    """Give signs of life, and enforce cancelling: it must work while tokenising or loading too, and after the page that
    asked for it was closed."""
    beaten = time.monotonic()
    while True:
        if run.cancel_asked():
            cancel(run)
        if time.monotonic() - beaten > BEAT_SECONDS:
            run.give_sign_of_life()
            beaten = time.monotonic()
        time.sleep(WATCH_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
