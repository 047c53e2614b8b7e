"""Leaving: the first signal is a wish, asked for between two steps; whoever does not hear it is ended in time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from beft_core.execution import leaving as module
from beft_core.execution.leaving import SIGNALS, UNFINISHED, Leaving, Left, UntilLeft
from beft_core.training.observer import Observer


@pytest.mark.parametrize("name", SIGNALS)
def test_the_first_signal_counts_and_the_others_change_nothing(name: str) -> None:
    before = {one: signal.getsignal(getattr(signal, one)) for one in SIGNALS}
    with Leaving() as leaving:
        assert leaving.signal is None and not leaving.wants_again
        os.kill(os.getpid(), getattr(signal, name))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert leaving.signal == name and leaving.wants_again == name.startswith("SIGUSR")
    assert {one: signal.getsignal(getattr(signal, one)) for one in SIGNALS} == before


def test_a_signal_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have interrupted this thread while it held the locks that starting one takes."""

    def locked(_: threading.Thread) -> None:
        raise AssertionError("a thread was started by a signal")

    with Leaving() as leaving:
        monkeypatch.setattr(threading.Thread, "start", locked)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert leaving.signal == "SIGTERM"


def test_who_left_in_time_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(module, "LEAVE_SECONDS", 2.0)
    monkeypatch.setattr(module.os, "_exit", ended.append)
    before = set(threading.enumerate())
    with Leaving() as leaving:
        (ends,) = set(threading.enumerate()) - before
        leaving.leave("a test")
    ends.join(60)
    assert not ends.is_alive() and ended == []


def test_training_is_asked_to_stop_and_anything_else_is_left() -> None:
    heard: list[object] = []

    class Hears(Observer):
        def stage(self, name: str, total: int | None = None) -> None:
            heard.append(name)

        def advance(self, n: int = 1) -> None:
            heard.append(n)

        def message(self, text: str) -> None:
            heard.append(text)

    leaving = Leaving()
    watched = UntilLeft(Hears(), leaving)
    watched.stage("train", 3)
    watched.advance(2)
    assert not watched.should_stop()
    leaving.signal = "SIGTERM"
    watched.advance()  # the loop asks, and keeps what it has
    watched.message("kept")
    assert watched.should_stop() and heard == ["train", 2, 1, "kept"]
    with pytest.raises(Left):
        watched.stage("tokenise")
    loading = UntilLeft(Hears(), leaving)
    with pytest.raises(Left):
        loading.advance()


DEAF = """
import sys, time
from pathlib import Path
from beft_core.execution import leaving

leaving.LEAVE_SECONDS = 0.2
word = Path(sys.argv[1])
with leaving.Leaving(lambda: word.write_text(word.read_text() + "goodbye")) as one:
    one.last_words.append(lambda: word.write_text("stopped, "))
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
"""


def test_who_does_not_hear_it_is_ended_with_a_last_word(tmp_path: Path) -> None:
    word = tmp_path / "word"
    with subprocess.Popen([sys.executable, "-c", DEAF, str(word)], stdout=subprocess.PIPE, text=True) as deaf:
        assert deaf.stdout is not None and deaf.stdout.readline() == "ready\n"
        deaf.terminate()
        assert deaf.wait(60) == UNFINISHED
    assert word.read_text() == "stopped, goodbye"
