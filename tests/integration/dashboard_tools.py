"""The dashboard in process: opening a page, looking at it, and background runs that are only played."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from beft_core.execution import start
from beft_core.runs.run import Run

ROOT = Path(__file__).parents[2]


class PlayedService:
    """Model service of a test, that of nobody else; what extends it says how it answers."""

    running = True

    def turn(self, told: object = None) -> AbstractContextManager[None]:
        return nullcontext()


def app(page: str = "start") -> AppTest:
    """The app, about to run for the first time, on a page.

    AppTest knows a page by the name of its file until the app has run, and ours are all called page.py: so it is told
    what a browser would ask for.
    """
    at = AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=30)
    at._page_hash = calc_hash("" if page == "start" else page)
    return at


def opened(page: str, **query: str | list[str]) -> AppTest:
    """A page, opened by a link."""
    at = app(page)
    for name, value in query.items():
        at.query_params[name] = value
    return sound(at.run())


def sound(at: AppTest) -> AppTest:
    assert not at.exception, at.exception
    return at


def headings(at: AppTest) -> list[str]:
    return [m.value for m in at.markdown if m.value.startswith("####")]


def charts(at: AppTest) -> int:
    return len(at.get("plotly_chart"))


def button(at: AppTest, label: str) -> Any:
    return next(b for b in at.button if b.label == label)


def wait(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def begin(act: str, **config: Any) -> Run:
    run = Run.create("select", {"act": act, "task": "demo-sentiment", "device": "cpu", **config})
    start.start_worker(run)
    return run


def command(at: AppTest) -> str:
    """Find the command that a page shows for what its form says."""
    return next(code.value for code in at.code if code.value.startswith("beft "))


def captions(at: AppTest) -> str:
    """Join all captions of a page."""
    return " ".join(caption.value for caption in at.caption)


def metrics(at: AppTest) -> dict[str, str]:
    """List what a page measures, by label."""
    return {metric.label: metric.value for metric in at.metric}
