"""What a training writes down: epochs, failures, trajectories, and their way through a checkpoint."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny
from training_tools import config, examples

from beft_core.training.job import Job
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.observer import Observer
from beft_core.training.precision import Precision
from beft_core.training.progress.record import Record
from beft_core.training.session import Readings

CPU = torch.device("cpu")


class Told(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.epochs: list[tuple[int, dict[str, float]]] = []
        self.messages: list[str] = []

    def epoch(self, metrics: dict[str, float], run: int = 0) -> None:
        self.epochs.append((run, metrics))

    def message(self, text: str) -> None:
        self.messages.append(text)


def record_of(*changes: dict[str, Any]) -> Record:
    """Runs of ten examples in batches of four: three steps an epoch."""
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    slots = model.layout.slots_of("v")
    bank = Bank(model, slots, runs=len(changes), classes=2, precision=Precision("float32", CPU))
    jobs = [Job(config(**one), examples(10, 0), set(bank.parts)) for one in changes]
    predictor: Any = SimpleNamespace(evaluate=lambda run: {"accuracy": 0.5 + run})
    return Record(bank, jobs, predictor, Readings(), Told())


def take(record: Record, losses: list[float], factors: list[float] | None = None) -> None:
    """One step, as the loop takes it."""
    record.loss_sum += torch.tensor(losses)
    record.readings.add(record.progress.step, torch.tensor([losses, factors or [1.0] * len(losses)]))
    record.progress.step += 1
    record.read()
    record.after_step(record.progress.step)


def test_an_epoch_is_the_mean_of_its_losses_and_is_scored_as_each_run_wants_it() -> None:
    record = record_of({"evaluate": "epoch"}, {"evaluate": "last"}, {"evaluate": "never"})
    for step in range(6):
        take(record, [float(step), 1.0, 2.0])
    assert [row["train_loss"] for row in record.progress.history[0]] == [1.0, 4.0]
    assert [row["step"] for row in record.progress.history[0]] == [3, 6]
    scored = [[row.get("accuracy") for row in rows] for rows in record.progress.history]
    assert scored == [[0.5, 0.5], [None, 1.5], [None, None]]
    assert record.live() == [] and record.total_steps == 6
    assert [run for run, _ in record.observer.epochs] == [0, 1, 2] * 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("values", [([1.0, float("nan")], [1.0, 1.0]), ([1.0, 1.0], [1.0, float("nan")])])
def test_a_run_that_is_not_finite_leaves_and_the_others_go_on(values: tuple[list[float], list[float]]) -> None:
    record = record_of({}, {"lr": 0.25})
    take(record, [1.0, 1.0])
    take(record, *values)
    assert record.live() == [0] and record.progress.leaves == {"1": 2}
    (message,) = record.observer.messages  # type: ignore[attr-defined]
    assert message.startswith("run 1: ") and "step 2" in message and "0.25" in message
    for _ in range(4):
        take(record, [1.0, float("nan")])
    assert len(record.progress.history[0]) == 2 and record.progress.history[1] == []
    assert record.outcome(1, stopped=False).failure in message


def test_a_trajectory_keeps_the_values_of_the_runs_that_want_it() -> None:
    record = record_of({"trajectory_every": 2}, {"trajectory_every": 5}, {})
    kept = {}
    for step in range(1, 7):
        with torch.no_grad():
            record.bank.values += 1.0
        kept[step] = record.bank.values.clone().numpy()
        take(record, [0.0, 0.0, 0.0])
    assert [record.outcome(run, False).trajectory_steps for run in range(3)] == [[2, 4, 6], [5, 6], []]
    for name, part in record.bank.slot_parts.items():
        followed = record.outcome(1, False).trajectory[name]
        assert np.array_equal(followed, [kept[5][1, part.columns], kept[6][1, part.columns]])
    assert record.outcome(2, False).trajectory == {}


def test_it_comes_back_from_a_checkpoint() -> None:
    record, again = (record_of({"trajectory_every": 2}) for _ in range(2))
    for _ in range(4):
        take(record, [2.0])
    again.load_state(record.state(), record.progress)
    assert again.live() == record.live() == [0] and float(again.loss_sum) == 2.0
    for one in (record, again):
        one.progress.step = 6
    ours, theirs = record.outcome(0, True), again.outcome(0, True)
    assert ours.trajectory_steps == theirs.trajectory_steps == [2, 4] and not ours.stopped
    assert all(np.array_equal(ours.trajectory[name], theirs.trajectory[name]) for name in ours.trajectory)


def test_a_run_that_trains_nothing_is_scored_once_before_the_first_step() -> None:
    record = record_of({"mode": "none", "terms": ()}, {"mode": "none", "terms": (), "evaluate": "never"}, {})
    record.score_untrained()
    record.score_untrained()  # a run that is resumed has it already
    rows = [{"epoch": 0, "step": 0, "accuracy": 0.5}, {"epoch": 0, "step": 0}]
    assert record.progress.history == [[rows[0]], [rows[1]], []]
    assert record.live() == [2] and record.outcome(0, False).steps == 0
    assert record.observer.epochs == list(enumerate(rows))  # type: ignore[attr-defined]
