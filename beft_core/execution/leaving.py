"""Leaving before the end: a scheduler or a person wants a worker gone, and it keeps what it has within seconds."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Self

from beft_core.tasks.predictions import Predictions
from beft_core.training.observer import Observer

UNFINISHED = 75
"""Exit status of a worker that left before the end and can be started again: EX_TEMPFAIL of sysexits.h."""
LEAVE_SECONDS = 10.0
"""Seconds after a signal until the process ends, whatever it does: its last saved state is then some seconds old."""
TIME_IS_UP: tuple[str, ...] = ("SIGUSR1", "SIGUSR2")
"""Signals by which Slurm says that a job's time is nearly up: whoever hears one is to be queued again."""
SIGNALS: tuple[str, ...] = ("SIGTERM", "SIGINT", "SIGHUP", *TIME_IS_UP)


class Left(Exception):
    """Exception that unwinds a worker that was told to leave while there was nothing to keep."""


class Leaving:
    """Context in which the first signal is a wish to leave, which whoever works asks for between two steps.

    Further signals change nothing. ``at_last``: what to do before the process is ended because it did not leave.

    A signal may come while this thread holds any lock, also one of the module ``threading``. So the thread that ends
    the process is there before, woken by a queue whose ``put`` may interrupt itself.
    """

    def __init__(self, at_last: Callable[[], None] = lambda: None) -> None:
        self.signal: str | None = None
        """Name of the signal that came first; None: none did."""
        self.last_words: list[Callable[[], None]] = []
        """Functions that are called first in that case."""
        self._at_last = at_last
        self._before: dict[signal.Signals, Any] = {}
        self._steps: SimpleQueue[bool] = SimpleQueue()
        """True for each wish to leave, False once the block has been left."""

    @property
    def wants_again(self) -> bool:
        """Whether the time of the job is nearly up, so that it has to be queued again by itself."""
        return self.signal in TIME_IS_UP

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, daemon=True, name="leaving").start()
        for name in SIGNALS:
            if (number := getattr(signal, name, None)) is not None:
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._steps.put(False)

    def leave(self, why: str) -> None:
        """Wish that the worker leaves, as a signal would; of several wishes the first counts."""
        if self.signal is None:
            self.signal = why
            self._steps.put(True)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self.leave(signal.Signals(number).name)

    def _watch(self) -> None:
        """Wait for a wish to leave, and end the process where the block goes on for too long after it."""
        wished = self._steps.get()
        until = time.monotonic() + LEAVE_SECONDS
        while wished:
            try:
                wished = self._steps.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                self._end()
                return

    def _end(self) -> None:
        try:
            for say in list(self.last_words):
                say()
            self._at_last()
        finally:
            os._exit(UNFINISHED)


class UntilLeft(Observer):
    """Observer that passes everything on to another, and ends the work where leaving was wished for."""

    def __init__(self, inner: Observer, leaving: Leaving) -> None:
        self._inner, self._leaving = inner, leaving
        self._trains = False

    def stage(self, name: str, total: int | None = None) -> None:
        self._go()
        self._trains = name == "train"
        self._inner.stage(name, total)

    def advance(self, n: int = 1) -> None:
        if not self._trains:  # there it is asked whether to stop, and keeps what was trained
            self._go()
        self._inner.advance(n)

    def step(self, step: int, total: int, losses: Sequence[float]) -> None:
        self._inner.step(step, total, losses)

    def scores(self, step: int, table: Mapping[str, Mapping[str, float]]) -> None:
        self._inner.scores(step, table)

    def epoch(self, metrics: dict[str, float], run: int = 0) -> None:
        self._inner.epoch(metrics, run)

    def validating(self, done: int, total: int) -> None:
        self._inner.validating(done, total)

    def predicted(self, predictions: Predictions, run: int = 0) -> None:
        self._inner.predicted(predictions, run)

    def message(self, text: str) -> None:
        self._inner.message(text)

    def should_stop(self) -> bool:
        return self._leaving.signal is not None or self._inner.should_stop()

    def _go(self) -> None:
        if self._leaving.signal is not None:
            raise Left
