"""The language-model loss against transformers' rule: the mean over all answer tokens of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from beft_core.tasks.targets import Classes
from beft_core.training.batches.encoded import Encoded, Tokens
from beft_core.training.objectives.generation import Generation

OBJECTIVE = Generation(Classes(("a", "b")))


def test_weighted_by_their_tokens_the_losses_add_up_to_the_mean_over_all_tokens() -> None:
    log_probs = [torch.tensor([-1.0, -2.0, -6.0]), torch.tensor([-4.0])]
    scores = torch.stack([one.mean() for one in log_probs])[:, None]
    nothing = np.zeros(0, np.int32)
    batch = Encoded(Tokens(nothing, None), np.zeros(2), np.zeros(2), np.zeros(2), np.array([[0, 3], [3, 1]]))
    weights = torch.from_numpy(OBJECTIVE.weights(batch))
    losses = OBJECTIVE.loss(scores, torch.zeros(2, dtype=torch.int64))
    assert losses.tolist() == [3.0, 4.0]
    assert float((losses * weights).sum() / weights.sum()) == pytest.approx(13 / 4)
    (likelihood,) = OBJECTIVE.expectations(1)
    assert (likelihood(scores, torch.zeros(2, dtype=torch.int64)) * weights).tolist() == [
        -9.0,
        -4.0,
    ]  # of whole answers


def test_the_loss_looks_at_the_right_candidate_alone() -> None:
    scores = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]], requires_grad=True)
    (grad,) = torch.autograd.grad(OBJECTIVE.loss(scores, torch.tensor([1, 0])).sum(), scores)
    assert grad.tolist() == [[0, -1], [-1, 0]]
