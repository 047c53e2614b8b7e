"""What a fine-tune tells the outside: nothing must be heard, and what counts as a metric."""

from __future__ import annotations

from beft_core.training.observer import NOT_METRICS, Observer, metric_that_counts


def test_nothing_needs_to_be_heard_and_nobody_stops() -> None:
    observer = Observer()
    observer.stage("train", 3)
    observer.advance()
    observer.step(1, 3, [0.5])
    observer.scores(1, {"v": {"magnitude": 0.1}})
    observer.epoch({"epoch": 1, "accuracy": 0.5})
    observer.message("text")
    assert observer.should_stop() is False
    assert observer.wants_scores is False


def test_the_first_metric_of_an_epoch_counts() -> None:
    record = {
        "type": "epoch",
        "epoch": 1,
        "step": 3,
        "run": 0,
        "train_loss": 0.5,
        "seconds": 1,
        "f1": 0.2,
        "accuracy": 1,
    }
    assert metric_that_counts(record) == "f1"
    assert metric_that_counts(dict.fromkeys(NOT_METRICS, 1)) is None
