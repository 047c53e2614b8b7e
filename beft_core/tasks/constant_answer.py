"""Baseline of every fine-tune: what a classifier gets that gives all examples the same answer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from beft_core.tasks.answer_metrics import ANSWER_METRICS
from beft_core.tasks.metrics import METRICS

PROPORTIONS = ("accuracy", "f1", "f1_macro", *ANSWER_METRICS)
"""Metrics from 0 to 1 that count right answers. All others are correlations: 0 for any constant answer."""


def constant_answer(labels: np.ndarray, metric: str, golds: Sequence[Sequence[int]] | None = None) -> float:
    """Compute a metric of the best constant answer: 0 for correlations, and for labels that are numbers or free text.

    ``labels``: encoded labels [examples]; ``metric``: a key of :data:`beft_core.tasks.metrics.METRICS`; ``golds``:
    numbers of all right answers of each example, empty where the label alone is; None: it always is.
    """
    if metric not in PROPORTIONS or metric in ANSWER_METRICS or labels.dtype.kind != "i" or not len(labels):
        return 0.0
    tried = (np.full_like(labels, answer) for answer in constant_answers(labels, metric, golds))
    return max(METRICS[metric](said, judged(said, labels, golds)) for said in tried)


def constant_answers(labels: np.ndarray, metric: str, golds: Sequence[Sequence[int]] | None = None) -> list[int]:
    """List the constant answers of which one is the best by a metric of :data:`PROPORTIONS`.

    ``labels``: numbers of classes or candidates [examples], at least one; ``golds``: as of :func:`constant_answer`.
    """
    # Right answers are counted, so that the one that is right most often is the best; F1 counts those of class 1 alone.
    several = [()] * len(labels) if golds is None else golds
    right = Counter(one for label, own in zip(labels.tolist(), several, strict=True) for one in {int(label), *own})
    most = min(right, key=lambda answer: (-right[answer], answer))
    return sorted({most, *({1} if metric == "f1" else ())})


def judged(predicted: np.ndarray, labels: np.ndarray, golds: Sequence[Sequence[int]] | None) -> np.ndarray:
    """Choose the labels that predictions are compared with: of several right answers the predicted one, [examples].

    ``golds``: as of :func:`constant_answer`.
    """
    if golds is None:
        return labels
    right = [one in own for one, own in zip(predicted.tolist(), golds, strict=True)]
    return np.where(right, predicted, labels)


def uncertainty(metric: str, value: float, examples: int) -> float:
    """Compute two standard errors of a metric on so many examples: of a proportion, or of a correlation near zero.

    F1 is taken for a proportion, which it nearly is. ``metric``: also with the name of a validation set behind it.
    """
    counts = any(metric == name or metric.startswith(f"{name}_") for name in PROPORTIONS)
    spread = math.sqrt(value * (1 - value)) if counts and 0 < value < 1 else 1.0
    return 2 * spread / math.sqrt(examples)
