"""Scores of candidates from the log-probabilities of their tokens, against placing them one by one."""

from __future__ import annotations

import numpy as np
import torch

from beft_core.training.batches.answers import MISSING, Answers, AnswerTokens, answer_arrays, are_siblings

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


def test_numbers_are_rounded_up_for_few_shapes_and_scores_stay() -> None:
    many = 40  # examples of six answer tokens, in all 240: above 16 there are sixteen numbers between powers of two
    table = AnswerTokens.join([TABLE] * many)
    spans = np.array([span for n in range(many) for span in ([6 * n, 4], [6 * n + 4, 2])])
    start = 4 * np.arange(2 * many)
    exact, rounded = (answer_arrays(table, spans, start, table.most, rounded=one) for one in (False, True))
    assert (len(exact[0]), len(rounded[0])) == (160, 160) and len(rounded[1]["target"]) == 240
    short = answer_arrays(table, spans[:-5], start[:-5], table.most, rounded=True)
    assert (len(short[0]), len(short[1]["target"])) == (152, 232)  # 150 and 226 of them
    rng = np.random.default_rng(0)
    log_probs = torch.from_numpy(rng.standard_normal(232))
    scores = Answers(*(torch.from_numpy(short[1][name]) for name in ("target", "state", "of_candidate")))
    alone = answer_arrays(table, spans[:-5], start[:-5], table.most)
    own = Answers(*(torch.from_numpy(alone[1][name]) for name in ("target", "state", "of_candidate")))
    assert torch.equal(scores.scores(log_probs), own.scores(log_probs[:226]))
    np.testing.assert_array_equal(short[0][:150], alone[0])


def test_tables_are_put_one_after_another() -> None:
    both = AnswerTokens.join([TABLE, TABLE])
    assert both.ids.tolist() == [*TABLE.ids, *TABLE.ids] and both.most == 3
    nothing = np.zeros(0, np.int32)
    assert AnswerTokens(nothing, nothing, nothing).most == 0


def table_of(*candidates: tuple[int, int]) -> AnswerTokens:
    """Answer tokens by the state that predicts them and the candidate."""
    at, candidate = zip(*candidates, strict=True)
    return AnswerTokens(np.arange(len(at), dtype=np.int32), np.array(at, np.int32), np.array(candidate, np.int32))


def test_single_tokens_after_one_state_are_siblings() -> None:
    two, one = table_of((3, 0), (3, 1)), table_of((5, 0))
    both = AnswerTokens.join([two, one])  # the second example has one candidate less

    def siblings(table: AnswerTokens, *spans: tuple[int, int]) -> bool:
        start = 10 * np.arange(len(spans))
        found = [
            are_siblings(answer_arrays(table, np.array(spans), start, table.most, rounded=rounded)[1])
            for rounded in (False, True)
        ]
        assert found[0] == found[1]
        return found[0]

    assert siblings(both, (0, 2), (2, 1)) and siblings(two, (0, 2))
    assert not siblings(TABLE, (0, 4))  # candidates of several tokens
    assert not siblings(TABLE, (4, 2))  # of one each, after different states
    assert not siblings(AnswerTokens.join([two, table_of((5, 0), (6, 1))]), (0, 2), (2, 2))
