"""Progress in a terminal and in a file, and what Ctrl-C does."""

from __future__ import annotations

import io
import signal
import time

import pytest

from beft_core.cli import progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_progress(stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = stream()
    monkeypatch.setattr("sys.stderr", stderr)
    with progress.progress() as observer:
        observer.stage("load data")
        observer.stage("tokenise", 10)
        observer.advance(10)
        observer.stage("train", 4)
        observer.advance(0)
        observer.step(1, 4, [0.5])
        observer.advance()
        observer.epoch({"epoch": 1, "step": 4, "train_loss": 0.5, "accuracy": 0.75})
        observer.message("a [message]")
        assert not observer.should_stop()
        signal.raise_signal(signal.SIGINT)
        assert observer.should_stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
            time.sleep(1)
    text = stderr.getvalue()
    assert "epoch 1: train_loss 0.5000, accuracy 0.7500" in text
    assert "a [message]" in text
    assert set(observer.seconds) == {"load data", "tokenise", "train"}
    assert isinstance(observer, progress.Bars if stream is Terminal else progress.Lines)


def test_an_interruption_outside_of_training_ends_at_once() -> None:
    with progress.Lines() as observer, pytest.raises(KeyboardInterrupt):
        observer.stage("tokenise", 10)
        signal.raise_signal(signal.SIGINT)
