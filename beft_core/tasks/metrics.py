"""Metrics of the tasks; those that are more than a mean by scikit-learn and scipy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def _accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(predicted == labels))  # scikit-learn would take a second to import for it


def _f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predicted, pos_label=1, zero_division=0))


def _f1_macro(predicted: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predicted, average="macro", zero_division=0))


def _mcc(predicted: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, predicted))


def _pearson(predicted: np.ndarray, labels: np.ndarray) -> float:
    from scipy.stats import pearsonr

    return 0.0 if _constant(predicted, labels) else float(pearsonr(predicted, labels).statistic)


def _spearman(predicted: np.ndarray, labels: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return 0.0 if _constant(predicted, labels) else float(spearmanr(predicted, labels).statistic)


def _constant(*arrays: np.ndarray) -> bool:
    """Whether one of two arrays is constant: a correlation is then undefined, and counts as 0."""
    return any(np.ptp(array) == 0 for array in arrays)


def chance(metric: str, classes: int | None) -> float | None:
    """Metric that guesses which ignore the text reach on average, each class as often: the accuracy of one in
    ``classes``, 0 for correlations. None where it depends on how often the classes occur, as for F1.
    """
    if metric.startswith("accuracy"):
        return None if classes is None else 1 / classes
    return 0.0 if metric.split("_")[0] in ("mcc", "pearson", "spearman") else None


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "mcc": _mcc,
    "pearson": _pearson,
    "spearman": _spearman,
}
"""Metrics by name: (predictions, labels) -> value, 0 to 1, correlations and MCC -1 to 1."""

_IN_WORDS = {
    "answer_f1": "answer F1",
    "f1": "F1",
    "f1_macro": "macro F1",
    "mcc": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
}


def metric_in_words(metric: str) -> str:
    """Name a metric for readers: "Spearman correlation" for ``spearman``; one that is not ours without underscores."""
    return _IN_WORDS.get(metric, metric.replace("_", " "))


def compute(names: Sequence[str], predicted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Compute metrics by name. ``predicted``, ``labels``: [examples], numbers of classes or values."""
    return {name: METRICS[name](predicted, labels) for name in names}
