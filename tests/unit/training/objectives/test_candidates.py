"""Cross-entropy over candidates against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch.func import jacrev

from beft_core.tasks.targets import Classes
from beft_core.training.batches.answers import MISSING
from beft_core.training.objectives.candidates import Candidates

OBJECTIVE = Candidates(Classes(("terrible", "great")))


def test_loss_is_over_the_candidates_that_an_example_has() -> None:
    scores = torch.tensor([[math.log(0.1), math.log(0.3), MISSING], [math.log(0.2), math.log(0.2), math.log(0.1)]])
    loss = OBJECTIVE.loss(scores, torch.tensor([1, 2]))
    assert loss.tolist() == pytest.approx([-math.log(0.75), -math.log(0.2)])
    assert OBJECTIVE.log_likelihood(scores, torch.tensor([1, 2])).tolist() == pytest.approx((-loss).tolist())


def test_the_expectation_is_over_all_candidates_and_a_missing_one_adds_nothing() -> None:
    scores = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    scores[0, 2] = MISSING
    labels = torch.zeros(4, dtype=torch.int64)
    ours = sum(jacrev(one)(scores, labels).diagonal(dim1=0, dim2=1).square() for one in OBJECTIVE.expectations(3))
    p = scores.softmax(1)
    torch.testing.assert_close(ours.T, p * (1 - p))
