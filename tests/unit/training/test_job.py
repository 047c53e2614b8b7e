"""A run's schedule and order, in literal numbers: what the comparisons with plain loops take for granted."""

from __future__ import annotations

import numpy as np
import pytest

from beft_core.config import RunConfig
from beft_core.training.batches.encoded import Encoded
from beft_core.training.job import Job


def job(examples: int = 10, **changes: object) -> Job:
    """Batches of four; each example is one token, its number."""
    rows = [np.array([number]) for number in range(examples)]
    settings = {"batch_size": 4, "epochs": 2, "lr": 0.6, "schedule": "linear", **changes}
    return Job(RunConfig(**settings).resolved(), Encoded.of(rows, None, np.arange(examples)), set())  # type: ignore[arg-type]


def order(one: Job, epoch: int) -> list[int]:
    """The examples of an epoch, in the order in which its steps take them."""
    steps = range(epoch * one.steps_per_epoch, (epoch + 1) * one.steps_per_epoch)
    return [int(number) for step in steps for number in one.batch(step)]


def test_a_linear_schedule_decays_to_zero_over_the_whole_run_and_a_constant_one_stays() -> None:
    linear = job()
    assert linear.steps == 6 and linear.steps_per_epoch == 3  # 4 + 4 + 2 examples, twice
    assert [linear.lr(step) for step in range(6)] == pytest.approx([0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    assert [job(schedule="constant").lr(step) for step in range(6)] == [0.6] * 6


def test_every_epoch_takes_every_example_once_in_an_order_of_its_own() -> None:
    one = job(examples=30, epochs=3)
    orders = [order(one, epoch) for epoch in range(3)]
    assert all(sorted(each) == list(range(30)) for each in orders)
    assert [len(one.batch(step)) for step in range(8)] == [4] * 7 + [2]
    assert len({tuple(each) for each in [*orders, range(30)]}) == 4
    assert order(job(examples=30, epochs=3, seed=1), 0) != orders[0]
    assert order(job(examples=30, epochs=9, seed=0, schedule="constant"), 2) == orders[2]  # by seed and epoch alone


def test_the_batches_of_an_epoch_are_its_order_cut_into_pieces() -> None:
    one = job(examples=9)
    whole = np.random.default_rng([0, 1, 0]).permutation(9)
    assert [one.batch(step).tolist() for step in range(3)] == [whole[:4].tolist(), whole[4:8].tolist(), [whole[8]]]
