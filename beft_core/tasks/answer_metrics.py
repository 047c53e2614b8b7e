"""Metrics of answers in free text: F1 and exact match as SQuAD's and DROP's official scripts compute them.

SQuAD: https://arxiv.org/abs/1606.05250, section 6, and its ``evaluate-v1.1.py``. DROP: https://arxiv.org/abs/1903.00161,
section 6, and ``drop_eval.py`` of allenai/allennlp-reading-comprehension. The right answers of an example are
alternatives, of which the best one counts; one of several spans has them in lines of their own. The authors take the
first pair for DROP too, with every span as an alternative.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalized(text: str) -> str:
    """Put an answer into the form that SQuAD compares: lower case, no punctuation, articles and extra white space."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def token_f1(predicted: str, gold: str) -> float:
    """Compute the F1 of the words of two answers, each as often as it occurs, 0 to 1; 0 where none is shared."""
    words, right = (normalized(text).split() for text in (predicted, gold))
    shared = (Counter(words) & Counter(right)).total()
    return 2 * shared / (len(words) + len(right)) if shared else 0.0


def _exact(predicted: str, gold: str) -> float:
    return float(normalized(predicted) == normalized(gold))


# DROP


def drop_normalized(text: str) -> str:
    """Put a span into the form that DROP compares: as SQuAD, but word by word, also at hyphens; 5 and 5.0 agree."""
    return " ".join(filter(None, (_drop_word(word) for word in re.split(" |-", text))))


def _drop_word(word: str) -> str:
    word = word.lower()
    if not _is_number(word):
        word = word.translate(_PUNCTUATION)
    if _is_number(word):
        word = str(float(word))
    return " ".join(_ARTICLES.sub(" ", word).split())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def drop_f1(predicted: str, gold: str) -> float:
    """Compute DROP's F1 of an answer, 0 to 1: spans are aligned one to one as well as possible, their bags of words
    compared, and what is left over on either side counts as 0. A span with numbers matches only one that shares one.
    Rounded to 0.01, as the official script does.
    """
    from scipy.optimize import linear_sum_assignment

    ours, theirs = ([set(span.split()) for span in _spans(text)] for text in (predicted, gold))
    scores = np.array([[_bag_f1(bag, right) for bag in ours] for right in theirs])
    aligned = scores[linear_sum_assignment(scores, maximize=True)]
    return float(np.round(aligned.sum() / max(scores.shape), 2))


def _drop_exact(predicted: str, gold: str) -> float:
    ours, theirs = _spans(predicted), _spans(gold)
    return float(set(ours) == set(theirs) and len(ours) == len(theirs))


def _spans(text: str) -> list[str]:
    return [drop_normalized(span) for span in text.split("\n")]


def _bag_f1(bag: set[str], gold: set[str]) -> float:
    """F1 of two bags of words; an empty one has precision, or recall, 1."""
    numbers = {word for word in gold if _is_number(word)}
    if numbers and not numbers & bag:
        return 0.0
    shared = len(bag & gold)
    precision = shared / len(bag) if bag else 1.0
    recall = shared / len(gold) if gold else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


# Over examples


def _best(score: Callable[[str, str], float], alternatives: Callable[[str], list[str]]) -> AnswerMetric:
    """Make the mean over examples of the score against the best of the right answers."""

    def metric(predicted: Sequence[str], answers: Sequence[Sequence[str]]) -> float:
        best = [
            max(score(text, gold) for answer in right for gold in alternatives(answer))
            for text, right in zip(predicted, answers, strict=True)
        ]
        return float(np.mean(best))

    return metric


AnswerMetric = Callable[[Sequence[str], Sequence[Sequence[str]]], float]
"""Metric: (answers that were given [examples], right answers of each [examples]) -> value, 0 to 1."""

ANSWER_METRICS: dict[str, AnswerMetric] = {
    "answer_f1": _best(token_f1, lambda answer: answer.split("\n")),
    "exact_match": _best(_exact, lambda answer: answer.split("\n")),
    "drop_f1": _best(drop_f1, lambda answer: [answer]),
    "drop_exact_match": _best(_drop_exact, lambda answer: [answer]),
}
"""Metrics of answers in free text by name."""


def compute_answers(
    names: Sequence[str], predicted: Sequence[str], answers: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Compute metrics by name. ``predicted``: [examples]; ``answers``: the right ones of each [examples]."""
    return {name: ANSWER_METRICS[name](predicted, answers) for name in names}
