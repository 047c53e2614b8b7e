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


@pytest.mark.parametrize("stage", ["send", "fine-tunes of jobs"])
def test_an_interruption_leaves_nothing_half_sent_and_jobs_alone(
    stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.Lines() as observer:
        observer.stage(stage, 10)
        signal.raise_signal(signal.SIGINT)
        assert observer.should_stop()
    told = capsys.readouterr().err
    assert progress.POLITE[stage] in told and "steps" not in told


def test_an_interruption_outside_of_training_ends_at_once() -> None:
    with progress.Lines() as observer, pytest.raises(KeyboardInterrupt):
        observer.stage("tokenise", 10)
        signal.raise_signal(signal.SIGINT)


def test_validation_within_the_training_has_a_bar_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    bars = progress.progress()
    assert isinstance(bars, progress.Bars)
    with bars as observer:
        observer.stage("train", 10)
        for done in (10, 20):
            observer.validating(done, 30)
            (task,) = [task for task in bars._bars.tasks if task.description == "validate"]
            assert (task.completed, task.total) == (done, 30)
        observer.validating(30, 30)
        assert [task.description for task in bars._bars.tasks] == ["train"]


def test_a_long_validation_is_told_in_lines_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    with progress.Lines() as observer:
        observer.stage("train", 10)
        observer.validating(20, 30)
        observer.validating(30, 30)
    assert [line for line in capsys.readouterr().err.splitlines() if "validate" in line] == ["validate: 20 of 30"]
