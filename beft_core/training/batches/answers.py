"""Answers of prompted examples: which tokens a language-model head scores, and the score of each candidate from them.

The tokens of a prompted example form a tree: the prompt once, then each candidate as a branch of it. A token that is
to be predicted, an answer token, is read at the token before it on its path; a candidate's score is the mean of the
log-probabilities of its answer tokens. The last token of a candidate predicts nothing, so it is not computed, and
candidates of one token each need no branch at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from beft_core.tasks.predictions import MISSING
from beft_core.training.batches.plan import rounded_rows


@dataclass(frozen=True)
class AnswerTokens:
    """Answer tokens of many examples, one after another; int32 [answers] each."""

    ids: np.ndarray
    """Tokens that are to be predicted."""
    at: np.ndarray
    """Number of the token, within its example, whose hidden state predicts it."""
    candidate: np.ndarray
    """Number of the candidate, within its example, that it belongs to."""

    @property
    def most(self) -> int:
        """Largest number of candidates of an example."""
        return int(self.candidate.max(initial=-1)) + 1

    @classmethod
    def join(cls, tables: list[AnswerTokens]) -> AnswerTokens:
        """Put tables one after another."""
        columns = ("ids", "at", "candidate")
        return cls(*(np.concatenate([getattr(table, name) for table in tables]) for name in columns))


@dataclass(frozen=True)
class Answers:
    """Answer tokens of one pass on the device, and how they become scores."""

    target: Tensor
    """Tokens that are to be predicted, int64 [answers]."""
    state: Tensor
    """Which of the pass's vectors, the hidden states that are read, predicts each, int64 [answers]."""
    of_candidate: Tensor
    """Answer tokens of each candidate, int64 [examples, most candidates, most tokens], padded with ``answers``."""

    def scores(self, log_probs: Tensor) -> Tensor:
        """Take the mean per candidate: log-probabilities [answers] -> [examples, most candidates].

        A candidate that an example does not have gets :data:`beft_core.tasks.predictions.MISSING`.
        """
        padded = torch.cat([log_probs, log_probs.new_zeros(1)])
        counts = (self.of_candidate < len(log_probs)).sum(2)  # (examples, candidates)
        means = padded[self.of_candidate].sum(2) / counts.clamp(min=1)
        return torch.where(counts > 0, means, MISSING)


def are_siblings(arrays: Mapping[str, np.ndarray]) -> bool:
    """Say whether all candidates of each example are one token after one state: their scores then differ as the logits
    of these tokens do. ``arrays``: of :func:`answer_arrays`.
    """
    if arrays["of_candidate"].shape[2] != 1:
        return False
    answers = arrays["of_candidate"][:, :, 0]
    there = answers < len(arrays["state"])
    states = np.append(arrays["state"], 0)[np.where(there, answers, -1)]
    first = np.take_along_axis(states, there.argmax(1)[:, None], 1)  # of the first candidate that is there
    return bool(((states == first) | ~there).all())


def answer_arrays(
    table: AnswerTokens, spans: np.ndarray, start: np.ndarray, most: int, *, rounded: bool = False
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Arrange the answer tokens of the examples of one pass.

    Args:
        table: the answer tokens of all.
        spans: int64 [examples, 2]: where those of each example of the pass begin in the table, and how many they are.
        start: int64 [examples]: where each example begins in the flattened rows.
        most: how many candidates each example gets a score for.
        rounded: numbers of states, of answers and of tokens of a candidate are rounded up, so that fewer shapes occur;
            what is added reads the first place and belongs to no candidate.

    Returns:
        The places of the hidden states that are read in the flattened rows, int64 [states], each once; and the fields
        of :class:`Answers` as arrays by name.
    """
    counts = spans[:, 1]
    before = np.cumsum(counts) - counts
    example = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(counts.sum())
    source = spans[example, 0] + number - before[example]
    places, state = np.unique(start[example] + table.at[source], return_inverse=True)
    # Answer tokens of one candidate follow one another, so the rank within a run of equal ones is the column.
    owner = example * most + table.candidate[source]
    first = np.r_[True, owner[1:] != owner[:-1]] if len(owner) else np.zeros(0, bool)
    rank = number - np.maximum.accumulate(np.where(first, number, 0))
    longest, answers, states = int(rank.max(initial=0)) + 1, len(number), len(places)
    if rounded:
        longest, answers, states = 1 << (longest - 1).bit_length(), rounded_rows(answers), rounded_rows(states)
    of_candidate = np.full((len(counts) * most, longest), answers, np.int64)
    of_candidate[owner, rank] = number
    return np.pad(places, (0, states - len(places))), {
        "target": np.pad(table.ids[source].astype(np.int64), (0, answers - len(number))),
        "state": np.pad(state.astype(np.int64), (0, answers - len(number))),
        "of_candidate": of_candidate.reshape(len(counts), most, -1),
    }
