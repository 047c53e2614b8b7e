"""The null session: computations as they are written, values read at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from beft_core.training.batches.arrange import Shaping
from beft_core.training.session import Session

CPU = torch.device("cpu")


def test_a_computation_gets_its_arrays_on_the_device_each_time_anew() -> None:
    session, seen = Session(CPU), []

    def compute(tensors: Mapping[str, Tensor]) -> Tensor:
        seen.append(tensors["x"])
        return tensors["x"] * 2

    for value in (1.0, 2.0):
        assert session.run("double", {"x": np.full(3, value)}, compute).tolist() == [2 * value] * 3
    assert len(seen) == 2 and all(one.device == CPU for one in seen)


def test_nothing_is_shaped_or_entered() -> None:
    session = Session(CPU)
    with session.training(), session.evaluating():
        session.before_pass()
        assert session.shaping == Shaping("tokens", None, rounded=False)


def test_values_of_steps_are_read_at_once_in_the_null_session() -> None:
    readings = Session(CPU).readings
    for step in range(3):
        readings.add(step, torch.tensor(float(step)))
        assert [(at, float(value)) for at, value in readings.due()] == [(step, step)]
        assert readings.known_after(step) == step + 1
    assert list(readings.due(all=True)) == []
