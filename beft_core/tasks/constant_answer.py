"""Baseline of every fine-tune: what a classifier gets that gives all examples the same answer."""

from __future__ import annotations

import math

import numpy as np

from beft_core.tasks.answer_metrics import ANSWER_METRICS
from beft_core.tasks.metrics import METRICS

PROPORTIONS = ("accuracy", "f1", "f1_macro", *ANSWER_METRICS)
"""Metrics from 0 to 1 that count right answers. All others are correlations: 0 for any constant answer."""


def constant_answer(labels: np.ndarray, metric: str) -> float:
    """Compute a metric of the best constant answer: 0 for correlations, and for labels that are numbers or free text.

    ``labels``: encoded labels [examples]; ``metric``: a key of :data:`beft_core.tasks.metrics.METRICS`.
    """
    if metric not in PROPORTIONS or metric in ANSWER_METRICS or labels.dtype.kind != "i" or not len(labels):
        return 0.0
    # Right answers are counted, so the most frequent class is the best one; F1 counts those of class 1 alone.
    values, counts = np.unique(labels, return_counts=True)
    answers = {int(values[counts.argmax()]), *({1} if metric == "f1" else ())}
    return max(METRICS[metric](np.full_like(labels, answer), labels) for answer in answers)


def uncertainty(metric: str, value: float, examples: int) -> float:
    """Compute two standard errors of a metric on so many examples: of a proportion, or of a correlation near zero.

    F1 is taken for a proportion, which it nearly is. ``metric``: also with the name of a validation set behind it.
    """
    counts = any(metric == name or metric.startswith(f"{name}_") for name in PROPORTIONS)
    spread = math.sqrt(value * (1 - value)) if counts and 0 < value < 1 else 1.0
    return 2 * spread / math.sqrt(examples)
