"""Squared error against its definition, and against transformers' regression head."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from beft_core.tasks.targets import Number
from beft_core.training.objectives.regression import Regression

OBJECTIVE = Regression(Number())
LOGITS, LABELS = torch.tensor([[1.5], [-2.0]]), torch.tensor([1.0, 2.0])


def test_loss_is_the_squared_error() -> None:
    assert OBJECTIVE.loss(LOGITS, LABELS).tolist() == [0.25, 16.0]


def test_likelihood_is_a_gaussian_of_variance_1_up_to_its_constant() -> None:
    gaussian = torch.distributions.Normal(LOGITS.squeeze(-1), 1.0).log_prob(LABELS)
    torch.testing.assert_close(OBJECTIVE.log_likelihood(LOGITS, LABELS), gaussian + 0.5 * math.log(2 * math.pi))


def test_the_output_is_the_prediction() -> None:
    x, y = np.array([1.0, 2.0, 3.0, 5.0], np.float32), np.array([1.0, 3.0, 2.0, 9.0])
    assert OBJECTIVE.predict(x[:, None]).tolist() == x.tolist()
    assert OBJECTIVE.metrics(["spearman"], x[:, None], y) == {"spearman": pytest.approx(0.8)}
