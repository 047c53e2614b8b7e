"""Scores of candidates from the log-probabilities of their tokens, against placing them one by one."""

from __future__ import annotations

import numpy as np
import torch

from beft_core.training.batches.answers import MISSING, Answers, AnswerTokens, answer_arrays

TABLE = AnswerTokens(
    ids=np.array([7, 8, 9, 7, 5, 6], np.int32),
    at=np.array([2, 2, 3, 2, 0, 1], np.int32),
    candidate=np.array([0, 1, 1, 2, 0, 1], np.int32),
)
"""Two examples: one with the candidates (7), (8, 9) and (7), one with (5) and (6)."""
SPANS = np.array([[4, 2], [0, 4]])


def test_each_candidate_gets_the_mean_of_its_own_tokens() -> None:
    places, arrays = answer_arrays(TABLE, SPANS, start=np.array([0, 20]), most=TABLE.most)
    assert places.tolist() == [0, 1, 22, 23]  # the state that predicts several tokens is read once
    assert arrays["target"].tolist() == [5, 6, 7, 8, 9, 7]
    assert arrays["state"].tolist() == [0, 1, 2, 2, 3, 2]
    answers = Answers(*(torch.from_numpy(arrays[name]) for name in ("target", "state", "of_candidate")))
    log_probs = torch.tensor([-1.0, -2.0, -3.0, -4.0, -6.0, -7.0], requires_grad=True)
    scores = answers.scores(log_probs)
    assert scores.tolist() == [[-1.0, -2.0, MISSING], [-3.0, -5.0, -7.0]]
    (grad,) = torch.autograd.grad(scores[:, 1].sum(), log_probs)
    assert grad.tolist() == [0, 1, 0, 0.5, 0.5, 0]
    assert torch.equal(scores[0].softmax(0)[2], torch.tensor(0.0))  # a candidate that is missing weighs nothing


def test_tables_are_put_one_after_another() -> None:
    both = AnswerTokens.join([TABLE, TABLE])
    assert both.ids.tolist() == [*TABLE.ids, *TABLE.ids] and both.most == 3
    nothing = np.zeros(0, np.int32)
    assert AnswerTokens(nothing, nothing, nothing).most == 0
