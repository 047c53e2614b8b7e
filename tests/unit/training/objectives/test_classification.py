"""Cross-entropy against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from beft_core.tasks.targets import Classes
from beft_core.training.objectives.classification import Classification

OBJECTIVE = Classification(Classes(("a", "b", "c")))


def test_loss_is_the_negative_log_probability_of_the_label() -> None:
    logits = torch.tensor([[0.0, math.log(3), math.log(4)], [5.0, 5.0, 5.0]])
    assert OBJECTIVE.loss(logits, torch.tensor([1, 0])).tolist() == pytest.approx([math.log(8 / 3), math.log(3)])
    assert OBJECTIVE.log_likelihood(logits, torch.tensor([1, 0])).tolist() == pytest.approx(
        [math.log(3 / 8), math.log(1 / 3)]
    )


def test_the_most_probable_class_is_predicted_and_judged() -> None:
    logits = np.array([[0.1, 0.7, 0.2], [3, -1, 2], [0, 0, 0]], np.float32)
    assert OBJECTIVE.predict(logits).tolist() == [1, 0, 0]
    assert OBJECTIVE.metrics(["accuracy"], logits, np.array([1, 0, 2])) == {"accuracy": pytest.approx(2 / 3)}
