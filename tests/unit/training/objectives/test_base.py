"""What holds for every objective: its likelihood follows from its loss, and its expectations from its likelihood."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.func import jacrev

from beft_core.tasks.targets import Classes, Number
from beft_core.training.objectives.base import Objective
from beft_core.training.objectives.classification import Classification
from beft_core.training.objectives.regression import Regression

CASES = [
    (Classification(Classes(("a", "b", "c"))), torch.tensor([0, 2, 1, 1])),
    (Regression(Number()), torch.tensor([0.5, -2.0, 3.0, 0.0])),
]


@pytest.mark.parametrize(("objective", "labels"), CASES)
def test_likelihood_and_loss_have_opposite_gradients(objective: Objective, labels: torch.Tensor) -> None:
    logits = torch.randn(4, objective.outputs, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (loss,) = torch.autograd.grad(objective.loss(logits, labels).sum(), logits)
    (likelihood,) = torch.autograd.grad(objective.log_likelihood(logits, labels).sum(), logits)
    torch.testing.assert_close(likelihood, -objective.nats * loss)


def test_classes_are_expected_as_the_model_predicts_them() -> None:
    objective = Classification(Classes(("a", "b", "c")))
    logits = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    labels = torch.zeros(5, dtype=torch.int64)
    ours = sum(jacrev(one)(logits, labels).diagonal(dim1=0, dim2=1).square() for one in objective.expectations(3))
    p = logits.softmax(1)
    # grad_z log p_y = onehot(y) - p, so its expected square is p_k (1 - p_k)^2 + (1 - p_k) p_k^2 = p_k (1 - p_k).
    torch.testing.assert_close(ours.T, p * (1 - p))


def test_a_gaussian_of_variance_1_has_unit_information_of_its_mean() -> None:
    (mean,) = Regression(Number()).expectations(1)
    logits = torch.tensor([[3.0], [-7.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(mean(logits, torch.zeros(2)).sum(), logits)
    assert gradient.square().tolist() == [[1], [1]]


@pytest.mark.parametrize(("objective", "labels"), CASES)
def test_a_model_that_diverged_has_no_score(objective: Objective, labels: torch.Tensor) -> None:
    logits = np.zeros((4, objective.outputs), np.float32)
    logits[2] = np.nan
    found = objective.metrics(["accuracy", "f1"], logits, labels.numpy())
    assert list(found) == ["accuracy", "f1"] and all(map(math.isnan, found.values()))


def test_a_head_is_recorded_as_the_file_format_has_it() -> None:
    assert Classification(Classes(("a", "b"))).head() == {"kind": "classification", "labels": ["a", "b"]}
    assert Regression(Number()).head() == {"kind": "regression", "labels": None}
