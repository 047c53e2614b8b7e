"""Progress where somebody looks: bars in a terminal, one line and a bar below a cell of a notebook, else silence."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from beft_core.cli.output import number
from beft_core.cli.progress import Bars, Lines, Progress, epoch_line
from beft_core.errors import UserError
from beft_core.library.result import template
from beft_core.library.words import keywords
from beft_core.training.observer import Observer

REDRAW_SECONDS = 0.2
MAX_LINES = 100
"""Lines of messages that a cell shows; of more, the last ones."""


class Notebook(Progress):
    """Display below the cell that is drawn again as the work goes on: messages, and a bar for the present stage.

    Rich would draw in a notebook only where ipywidgets is installed; what this needs, every notebook has.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._live = ""
        self._drawn = 0.0
        self._handle: Any = None

    def __enter__(self) -> Self:
        from IPython.display import HTML, display

        super().__enter__()
        self._html = HTML
        self._handle = display(HTML(""), display_id=True)
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._draw()

    def message(self, text: str) -> None:
        self._lines.append(keywords(text))
        self._draw()

    def step(self, step: int, total: int, losses: Sequence[float]) -> None:
        self._live = "loss " + ", ".join(number(loss) for loss in losses)

    def epoch(self, metrics: dict[str, float], run: int = 0) -> None:
        self.message(epoch_line(metrics))

    def _begun(self) -> None:
        self._live = ""
        self._draw()

    def _show(self) -> None:
        if time.monotonic() - self._drawn >= REDRAW_SECONDS:
            self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        page = template("progress.html").render(
            lines=self._lines[-MAX_LINES:], name=self._name, done=self._done, total=self._total, live=self._live
        )
        if self._handle is not None:
            self._handle.update(self._html(page))


def in_notebook() -> bool:
    """Whether the code runs in a notebook, as rich tells it."""
    from rich.console import Console

    return Console().is_jupyter


@contextmanager
def watching(progress: bool | None, observer: Observer | None) -> Iterator[Observer]:
    """Give the observer of a call: the one given, or what shows progress where somebody looks.

    ``progress``: True shows it anywhere, False nowhere, None in a notebook and on a terminal.
    """
    if observer is not None and not isinstance(observer, Observer):
        raise UserError(f"got a {type(observer).__name__} as observer", "an instance of beft_core.Observer")
    if progress is not None and not isinstance(progress, bool):
        raise UserError(f"got progress = {str(progress)[:80]!r}", "True, False or None")
    if observer is not None or progress is False:
        yield observer or Observer()
        return
    kind: type[Progress] | None = Notebook if in_notebook() else Bars if sys.stderr.isatty() else None
    if kind is None and progress is None:
        yield Observer()
        return
    with (kind or Lines)() as shown:
        yield shown
