"""The line that a pass says before it ends."""

from __future__ import annotations

import pytest

from beft_core.sweeps import progress_line
from beft_core.sweeps.progress_line import Interim


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that have passed, in a list of one."""
    now = [0.0]
    monkeypatch.setattr(progress_line.time, "monotonic", lambda: now[0])
    return now


def row(epoch: int, **metrics: float) -> dict[str, float]:
    return {"epoch": epoch, "step": 3 * epoch, "train_loss": 0.5, **metrics}


def test_a_round_of_evaluations_is_told_when_it_is_complete_and_time(clock: list[float]) -> None:
    told: list[str] = []
    one = Interim(["v", "v", "q"], told.append)
    for run, value in enumerate((0.7, 0.8, 0.6)):
        one.epoch(row(1, f1=value, accuracy=0.1), run)
    one.epoch(row(2, f1=0.9, accuracy=0.1), 0)
    assert told == []  # too early
    clock[0] = 16.0
    one.epoch(row(2, f1=0.7, accuracy=0.1), 1)
    assert told == []  # the third has not had its turn
    one.epoch(row(2, f1=0.5, accuracy=0.1), 2)
    one.epoch(row(3, f1=0.0, accuracy=0.1), 0)
    assert told == ["so far, f1 in %, mean of the latest evaluations: v 80.0, q 50.0"]
    one.epoch(row(4, f1=0.0, accuracy=0.1), 0)
    assert len(told) == 1


def test_nothing_is_told_of_runs_that_are_not_evaluated(clock: list[float]) -> None:
    told: list[str] = []
    one = Interim(["v", "head"], told.append)
    for epoch in (1, 2, 3):
        clock[0] += 20
        one.epoch(row(epoch), 0)
        one.epoch(row(epoch), 1)
    assert told == []
    one.epoch(row(4, accuracy=0.25), 1)
    clock[0] += 20
    one.epoch(row(5), 0)
    assert told == ["so far, accuracy in %, mean of the latest evaluations: head 25.0"]
