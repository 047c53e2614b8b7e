"""Observer of a background run, which writes progress into ``status.json``, measurements into ``metrics.jsonl``.

A disk that becomes full ends no run: what cannot be written is kept and written once there is room, and the last word
waits for it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from beft_core.files.disk import NO_ROOM, NoRoom, with_room
from beft_core.files.plain_file import open_plain
from beft_core.process_id import ProcessId, host_name
from beft_core.runs.run import Run
from beft_core.runs.status import Status
from beft_core.tasks.predictions import Predictions
from beft_core.training.observer import Observer

STATUS_SECONDS = 0.4
"""Least seconds between two writes of progress within a stage; changes of stage and state are written at once."""
STEP_SECONDS = 0.25
"""Least seconds between two records of losses or of scores."""
STEP_SHARE = 1 / 500
"""Share of a run's time so far that lies between two records at least: a week leaves some 4000, not millions."""

MAX_UNWRITTEN = 16 * 2**20
"""Most bytes of records that wait in memory for room on the disk."""


class Cancelled(Exception):
    """Exception that unwinds the worker out of a stage that does not ask :meth:`Reporter.should_stop`."""


class Reporter(Observer):
    """Observer that writes what a run reports: the only writer of its status while the worker lives."""

    wants_scores = True

    def __init__(self, run: Run, device: str) -> None:
        """Report the calling process as the run's worker at once. Raises UserError where that cannot be written."""
        self.run = run
        self.stopped = False
        """Whether the run was told to stop and could keep what it had."""
        self.time_is_up = False
        """Whether the worker's job is about to be ended by a scheduler: it keeps what it has, to be gone on with."""
        self.predictions: list[Predictions] = []
        """Predictions of the run at its end, which are written with its snapshot."""
        now = time.time()
        before = run.recorded()
        self.status = Status(
            "queued",
            created=before.created,
            executor=before.executor,
            host=host_name(),
            job=before.job,
            device=device,
        )
        self._written = 0.0
        self._losses: list[Sequence[float]] = []
        self._stepped = now
        self._scored = 0.0
        self._unwritten = bytearray()
        """Records that found no room on the disk."""
        with open_plain(run.metrics, "ab", follow=False) as file:
            if file.tell():
                file.write(b"\n")  # a crash may have left half a line
        self._replace()

    def write(self, **changes: Any) -> None:
        """Change the status and replace the file; on a full disk the next change tries again."""
        with suppress(NoRoom):
            self._replace(**changes)

    def end(self, state: str, **changes: Any) -> None:
        """Write the final state, waiting for room on the disk. Raises NoRoom where there was none in time."""
        changes = {"state": state, "ended": time.time(), **changes}
        with_room(partial(self._replace, **changes), self.message)
        self._flush()

    def _replace(self, **changes: Any) -> None:
        """Replace the status, with the start time read anew: the clock may have been corrected."""
        process = ProcessId.of(psutil.Process())
        self.status = replace(self.status, process=process, **changes)
        self._written = time.monotonic()
        self.run.write_status(self.status)

    # -- Observer --------------------------------------------------------------------------------------------------

    def stage(self, name: str, total: int | None = None) -> None:
        self._leave_if_cancelled()
        self.write(stage=name, total=total, done=0, stage_began=time.time())
        self._append("stage", name=name, total=total)

    def advance(self, n: int = 1) -> None:
        self.status = replace(self.status, done=self.status.done + n)
        if time.monotonic() - self._written > STATUS_SECONDS:
            self.write()
            if self.status.stage != "train":  # there it asks should_stop and keeps what was trained
                self._leave_if_cancelled()

    def step(self, step: int, total: int, losses: Sequence[float]) -> None:
        self._losses.append(losses)
        now = time.time()
        if now - self._stepped < self._pause(now) and step != total:
            return
        mean = [sum(column) / len(self._losses) for column in zip(*self._losses, strict=True)]
        self._append("step", step=step, total=total, loss=[_json(value) for value in mean])
        self._losses, self._stepped = [], now

    def scores(self, step: int, table: Mapping[str, Mapping[str, float]]) -> None:
        now = time.time()
        if now - self._scored < self._pause(now) and step != self.status.total:
            return
        self._append("scores", step=step, scores=table)
        self._scored = now

    def epoch(self, metrics: dict[str, float], run: int = 0) -> None:
        self._append("epoch", run=run, **{name: _json(value) for name, value in metrics.items()})

    def predicted(self, predictions: Predictions, run: int = 0) -> None:
        self.predictions.append(predictions)

    def message(self, text: str) -> None:
        self._append("message", text=text)

    def should_stop(self) -> bool:
        self.stopped = self.stopped or self.run.cancel_asked()
        return self.stopped or self.time_is_up

    # -- helpers ---------------------------------------------------------------------------------------------------

    def _pause(self, now: float) -> float:
        """Least seconds between two records of losses or of scores, by the time that the run has taken."""
        return max(STEP_SECONDS, (now - (self.status.began or now)) * STEP_SHARE)

    def _leave_if_cancelled(self) -> None:
        if not self.stopped and (self.time_is_up or self.run.cancel_asked()):
            raise Cancelled

    def _append(self, kind: str, **values: Any) -> None:
        seconds = round(time.time() - (self.status.began or self.status.created), 3)
        line = json.dumps({"type": kind, "seconds": seconds, **values}, allow_nan=False) + "\n"
        if len(self._unwritten) < MAX_UNWRITTEN:
            self._unwritten += line.encode()
        self._flush()

    def _flush(self) -> None:
        before = _size(self.run.metrics)
        try:
            with open_plain(self.run.metrics, "ab", follow=False) as file:
                file.write(self._unwritten)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            del self._unwritten[: _size(self.run.metrics) - before]  # a part may have found room
        else:
            self._unwritten.clear()


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # somebody removed it; appending makes it anew
        return 0


def _json(value: float) -> float | None:
    """Return a number, or None where JSON has none (a loss that is not finite)."""
    return value if -float("inf") < value < float("inf") else None
