"""A new objective is one class and one row: a Huber regression trains, is scored and gets Fisher information.

Nothing but the registry's row and the task that names it is changed here.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from torch import Tensor
from torch.nn import functional as F
from training_tools import few_validation_examples

from beft_core.config import RunConfig
from beft_core.scores.table import score_snapshot
from beft_core.tasks.registry import TASKS, get_task
from beft_core.training import inputs
from beft_core.training.evaluate import evaluate
from beft_core.training.fisher.of_snapshots import with_tuned_fisher
from beft_core.training.objectives.base import LogLikelihood
from beft_core.training.objectives.classification import Classification
from beft_core.training.objectives.registry import OBJECTIVES, objective_of
from beft_core.training.objectives.regression import Regression
from beft_core.training.workflow import train

TASK = "demo-similarity"


def huber(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 1, x * x / 2, np.abs(x) - 0.5)


GRID = np.linspace(-40, 40, 800_001)
DENSITY = np.exp(-huber(GRID)) / np.exp(-huber(GRID)).sum()
INFORMATION = float((DENSITY * GRID.clip(-1, 1) ** 2).sum())
"""E (d log p / d mean)^2 of the density that Huber's loss is the logarithm of, integrated on a grid."""


class Huber(Regression):
    """Huber's loss: squared near the label, absolute far from it."""

    key = "huber"
    nats = 1.0

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.huber_loss(logits.squeeze(-1), labels.to(logits.dtype), reduction="none")

    def expectations(self, outputs: int) -> list[LogLikelihood]:
        return [lambda logits, labels: INFORMATION**0.5 * logits.squeeze(-1)]


def test_a_task_has_the_objective_that_its_labels_suggest() -> None:
    assert type(objective_of(get_task("demo-sentiment"))) is Classification
    assert objective_of(get_task("mnli")).outputs == 3
    assert type(objective_of(get_task(TASK))) is Regression
    assert all(key == objective.key for key, objective in OBJECTIVES.items())


def test_a_new_objective_goes_through_the_public_workflow(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"n_train": 32, "epochs": 2, "lr": 1e-2, "batch_size": 8, "max_length": 24, "fisher_examples": 8}
    run = RunConfig(mode="all", task=TASK, device="cpu", fisher=True, **settings)  # type: ignore[arg-type]
    monkeypatch.setattr(inputs, "load_data", few_validation_examples(24))
    squared = train(run)
    with monkeypatch.context() as patch:
        patch.setitem(OBJECTIVES, Huber.key, Huber)
        patch.setitem(TASKS, TASK, dataclasses.replace(get_task(TASK), objective=Huber.key))
        snapshot = train(run)
        scored = evaluate(snapshot, run)
        (tuned,) = with_tuned_fisher([snapshot])
    (of_gaussian,) = with_tuned_fisher([snapshot])

    row = snapshot.meta.metrics[-1]
    assert 0 < row["train_loss"] < squared.meta.metrics[-1]["train_loss"]  # type: ignore[operator]
    assert scored == pytest.approx({name: row[name] for name in ("spearman", "pearson")}, abs=1e-5)
    assert snapshot.meta.heads == squared.meta.heads
    assert score_snapshot(snapshot).selected()["projection_ratio"] in ("q", "k", "v")
    # Far from the label its gradient has a size of 1, that of the Gaussian's likelihood the distance.
    bounded, growing = snapshot.fisher("encoder", "v"), squared.fisher("encoder", "v")
    assert bounded is not None and growing is not None and (bounded < growing).all() and (bounded > 0).all()
    # Both expectations are a constant times the squared gradient of the mean.
    one, other = tuned.fisher("encoder", "v", "tuned"), of_gaussian.fisher("encoder", "v", "tuned")
    assert one is not None and other is not None
    np.testing.assert_allclose(one, INFORMATION * other, rtol=1e-4)
