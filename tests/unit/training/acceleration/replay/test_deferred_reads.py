"""Readings: every value comes once, in order, and at a step that depends on nothing else."""

from __future__ import annotations

import pytest
import torch

from beft_core.training.acceleration.replay.deferred_reads import RHYTHMS, DeferredReadings, Rhythm


@pytest.mark.parametrize("rhythm", [Rhythm(1, 0), Rhythm(1, 3), Rhythm(4, 0), Rhythm(3, 2)])
def test_each_value_comes_once_and_when_it_should(rhythm: Rhythm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RHYTHMS, "cpu", rhythm)
    queue = DeferredReadings(torch.device("cpu"))
    came = {}
    for step in range(20):
        queue.add(step, torch.tensor([float(step)]))
        for read, values in queue.due():
            assert read not in came and values.tolist() == [float(read)]
            came[read] = step + 1
    assert list(came) == list(range(len(came)))
    assert came == {step: queue.known_after(step) for step in range(20) if queue.known_after(step) <= 20}
    assert [step for step, _ in queue.due(all=True)] == list(range(len(came), 20))
    assert not list(queue.due(all=True))


def test_the_rhythms() -> None:
    def known(device: str) -> list[int]:
        return [DeferredReadings(torch.device(device)).known_after(step) for step in (0, 1, 15, 16)]

    assert known("cpu") == [1, 2, 16, 17]
    assert known("cuda") == [5, 6, 20, 21]
    assert known("mps") == [16, 16, 16, 32]
