"""Progress goes where somebody looks, and in a notebook it is drawn without any widget."""

from __future__ import annotations

import sys
import threading
from types import ModuleType
from typing import Any

import pytest

from beft_core.cli.progress import Lines
from beft_core.errors import UserError
from beft_core.library import progress
from beft_core.library.progress import Notebook, watching
from beft_core.training.observer import Observer


class Handle:
    """What IPython gives to update a display."""

    def __init__(self) -> None:
        self.pages: list[str] = []

    def update(self, page: str) -> None:
        self.pages.append(page)


@pytest.fixture
def handle(monkeypatch: pytest.MonkeyPatch) -> Handle:
    """A notebook, as far as displays go."""
    shown, ipython, display = Handle(), ModuleType("IPython"), ModuleType("IPython.display")
    display.HTML = str  # type: ignore[attr-defined]
    display.display = lambda page, display_id: shown  # type: ignore[attr-defined]
    ipython.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setattr(progress, "REDRAW_SECONDS", 0.0)
    return shown


def test_a_notebook_shows_stage_bar_and_messages_escaped(handle: Handle) -> None:
    with watching(None, None) as observer:
        assert isinstance(observer, Notebook)
        observer.stage("train", 10)
        observer.step(1, 10, [0.5])
        observer.advance(4)
        assert '<progress value="4" max="10">' in handle.pages[-1] and "loss 0.5000" in handle.pages[-1]
        observer.epoch({"epoch": 1, "step": 10, "accuracy": 0.75})
        observer.message("<b>k</b> is null; --train-null trains it")
        assert "epoch 1: accuracy 0.7500" in handle.pages[-1]
        assert (
            "&lt;b&gt;k&lt;/b&gt; is null; train_null trains it" in handle.pages[-1] and "<b>" not in handle.pages[-1]
        )
    assert "<progress" not in handle.pages[-1] and "is null" in handle.pages[-1]


@pytest.mark.parametrize(
    ("shown", "terminal", "kind"),
    [
        (None, False, Observer),
        (None, True, "Bars"),
        (True, False, Lines),
        (True, True, "Bars"),
        (False, True, Observer),
    ],
)
def test_elsewhere_it_goes_to_a_terminal_or_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, shown: bool | None, terminal: bool, kind: Any
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    with watching(shown, None) as observer:
        assert type(observer) is kind or type(observer).__name__ == kind


def test_an_observer_is_taken_as_it_is() -> None:
    own = Observer()
    with watching(None, own) as observer:
        assert observer is own
    with pytest.raises(UserError, match="got a str as observer"), watching(None, "x"):  # type: ignore[arg-type]
        pass
    with pytest.raises(UserError, match="got progress = '3'"), watching(3, None):  # type: ignore[arg-type]
        pass


def test_it_works_outside_of_the_main_thread(handle: Handle) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with watching(True, None) as observer:
                observer.message("done")
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == [] and "done" in handle.pages[-1]


def test_this_is_no_notebook() -> None:
    assert not progress.in_notebook()
