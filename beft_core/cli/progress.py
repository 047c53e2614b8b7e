"""Progress on stderr: bars in a terminal, sparse lines elsewhere; Ctrl-C as the wish to stop after the step."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any, Self

from beft_core.cli.output import note, number
from beft_core.counted import counted
from beft_core.training.observer import NOT_METRICS, Observer

LINE_SECONDS = 10.0
"""Seconds between two lines of a long stage, outside a terminal."""
POLITE: dict[str, str] = {
    "train": "stopping after this step",
    "send": "stopping after this one",
    "fine-tunes of jobs": "leaving the jobs alone",
}
"""Stages that end themselves at a first Ctrl-C, after what they are at: what is said then, by the stage's name."""
WORTH_A_LINE = 1.0
"""Seconds within which a stage that ends is not worth a line, outside a terminal."""


class Progress(Observer):
    """Base of every kind of progress: time per stage, and a first Ctrl-C that ends the fine-tune politely.

    A context manager: within it the signal is caught, after it the screen is free for results.
    """

    def __init__(self) -> None:
        self.stopped = False
        """Whether the fine-tune was asked to stop early."""
        self.seconds: dict[str, float] = {}
        """Seconds that each stage took, over all its turns."""
        self._name = ""
        self._total: int | None = None
        self._done = 0
        self._began = time.monotonic()
        self._before: Any = None

    @property
    def total_seconds(self) -> float:
        """Sum of the seconds of all stages that ended."""
        return sum(self.seconds.values())

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # no other one may ask for a signal
            self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        self._end()

    def stage(self, name: str, total: int | None = None) -> None:
        self._end()
        self._name, self._total, self._done = name, total, 0
        self._began = time.monotonic()
        self._begun()

    def advance(self, n: int = 1) -> None:
        self._done += n
        self._show()

    def should_stop(self) -> bool:
        return self.stopped

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        # Only these stages ask whether to stop; anywhere else there is nothing to keep.
        if self.stopped or self._name not in POLITE:
            raise KeyboardInterrupt
        self.stopped = True
        self.message(f"{POLITE[self._name]}; once more to stop at once")

    def _end(self) -> None:
        if self._name:
            seconds = time.monotonic() - self._began
            self.seconds[self._name] = self.seconds.get(self._name, 0.0) + seconds
            self._ended(seconds)
        self._name = ""

    def _begun(self) -> None:
        """Take note that a stage began."""

    def _ended(self, seconds: float) -> None:
        """Take note that the stage is over after so many seconds."""

    def _show(self) -> None:
        """Show that a stage went on."""


class Lines(Progress):
    """Progress as lines for a file or a pipe.

    None before the first stage of countable work: until then data and model are read, and where they are wrong, the
    error is the only line.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held: list[str] | None = []
        self._told = time.monotonic()
        self._loss = ""

    def message(self, text: str) -> None:
        note(text)

    def step(self, step: int, total: int, losses: Sequence[float]) -> None:
        self._loss = f", loss {', '.join(number(loss) for loss in losses)}"

    def epoch(self, metrics: dict[str, float], run: int = 0) -> None:
        note(epoch_line(metrics))

    def validating(self, done: int, total: int) -> None:
        if time.monotonic() - self._told >= LINE_SECONDS and done < total:
            self._told = time.monotonic()
            note(f"validate: {done} of {total}")

    def _begun(self) -> None:
        self._told, self._loss = time.monotonic(), ""
        if self._total is not None and self._held is not None:
            for line in self._held:
                note(line)
            self._held = None
        if self._name == "train" and self._total is not None:
            note(f"train: {counted(self._total, 'step')}")
        elif self._name == "evaluate" and self._total:
            note(f"evaluate: {counted(self._total, 'example')}")

    def _show(self) -> None:
        if time.monotonic() - self._told >= LINE_SECONDS:
            self._told = time.monotonic()
            of = f" of {self._total}" if self._total else ""
            note(f"{self._name}: {self._done}{of}{self._loss}")

    def _ended(self, seconds: float) -> None:
        if seconds >= WORTH_A_LINE:
            line = f"{self._name}: {seconds:.1f} s"
            if self._held is None:
                note(line)
            else:
                self._held.append(line)


class Bars(Progress):
    """Progress as a bar for the present stage, with loss and metrics, in a terminal."""

    def __init__(self) -> None:
        super().__init__()
        from rich import progress
        from rich.console import Console

        self._bars = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=28),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[live]}"),
            console=Console(file=sys.stderr, highlight=False, markup=False, emoji=False),
            transient=True,
        )
        self._bar: Any = None
        self._metric = ""
        self._validation: Any = None

    def __enter__(self) -> Self:
        super().__enter__()
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._bars.stop()

    def message(self, text: str) -> None:
        from rich.text import Text

        self._bars.console.print(Text(text))

    def step(self, step: int, total: int, losses: Sequence[float]) -> None:
        loss = "loss " + ", ".join(number(value) for value in losses)
        self._bars.update(self._bar, live=f"{loss}  {self._metric}")

    def epoch(self, metrics: dict[str, float], run: int = 0) -> None:
        self._metric = "  ".join(f"{k} {number(v)}" for k, v in metrics.items() if k not in NOT_METRICS)
        self.message(epoch_line(metrics))

    def validating(self, done: int, total: int) -> None:
        if self._validation is None:
            self._validation = self._bars.add_task("validate", total=total, live="")
        self._bars.update(self._validation, completed=done)
        if done >= total:
            self._bars.remove_task(self._validation)
            self._validation = None

    def _begun(self) -> None:
        self._bar = self._bars.add_task(self._name, total=self._total, live="")

    def _show(self) -> None:
        self._bars.update(self._bar, completed=self._done)

    def _ended(self, seconds: float) -> None:
        self._bars.remove_task(self._bar)


def epoch_line(metrics: dict[str, float]) -> str:
    """Write what an epoch ended with as one line."""
    values = (f"{name} {number(value)}" for name, value in metrics.items() if name not in ("epoch", "step"))
    return f"epoch {metrics.get('epoch', 0):g}: {', '.join(values)}"


def progress() -> Progress:
    """Make the progress: bars where stderr is a terminal, lines elsewhere."""
    return Bars() if sys.stderr.isatty() else Lines()
