"""Metrics against values worked out by hand from their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from beft_core.tasks.metrics import METRICS, chance, compute, metric_in_words

PREDICTED = np.array([1, 1, 1, 0, 0, 0, 1, 0])
LABELS = np.array([1, 1, 0, 0, 0, 1, 1, 0])  # 3 true positives, 1 false positive, 1 false negative, 3 true negatives


def test_chance_is_what_guesses_get() -> None:
    generator = np.random.default_rng(0)
    labels = generator.choice(3, 20_000, p=[0.7, 0.2, 0.1])  # however often the classes occur
    guesses = generator.integers(0, 3, 20_000)
    values = compute(("accuracy", "mcc"), guesses, labels)
    assert chance("accuracy", 3) == pytest.approx(values["accuracy"], abs=0.015)
    assert chance("mcc", 3) == pytest.approx(values["mcc"], abs=0.015)
    assert (chance("spearman", None), chance("f1", 2), chance("accuracy", None)) == (0, None, None)


def test_binary_metrics() -> None:
    values = compute(("accuracy", "f1", "mcc", "f1_macro"), PREDICTED, LABELS)
    assert values["accuracy"] == pytest.approx(6 / 8)
    assert values["f1"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert values["mcc"] == pytest.approx((3 * 3 - 1 * 1) / math.sqrt(4 * 4 * 4 * 4))
    assert values["f1_macro"] == pytest.approx((6 / 8 + 6 / 8) / 2)


def test_readers_get_names_without_underscores() -> None:
    names = {metric: metric_in_words(metric) for metric in METRICS}
    assert len(set(names.values())) == len(METRICS) and not any("_" in name for name in names.values())
    assert (names["accuracy"], names["spearman"]) == ("accuracy", "Spearman correlation")
    assert metric_in_words("of_a_stranger") == "of a stranger"


def test_accuracy_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    for examples in (1, 7, 500, 1043):
        labels, predicted = generator.integers(0, 3, (2, examples))
        assert compute(["accuracy"], predicted, labels)["accuracy"] == accuracy_score(labels, predicted)


def test_macro_f1_weighs_classes_equally() -> None:
    labels = np.array([0, 0, 0, 0, 1, 2])
    predicted = np.array([0, 0, 0, 1, 1, 0])
    # class 0: tp 3, fp 1, fn 1; class 1: tp 1, fp 1, fn 0; class 2: never predicted
    expected = (6 / 8 + 2 / 3 + 0) / 3
    assert compute(["f1_macro"], predicted, labels)["f1_macro"] == pytest.approx(expected)


def test_correlations() -> None:
    x, y = np.array([1.0, 2.0, 3.0, 5.0]), np.array([1.0, 3.0, 2.0, 9.0])
    values = compute(("spearman", "pearson"), x, y)
    dx, dy = x - x.mean(), y - y.mean()
    assert values["pearson"] == pytest.approx((dx @ dy) / math.sqrt((dx @ dx) * (dy @ dy)))
    assert values["spearman"] == pytest.approx(1 - 6 * (0 + 1 + 1 + 0) / (4 * 15))  # no ties: 1 - 6 sum d^2 / n(n^2-1)


@pytest.mark.parametrize("name", ["spearman", "pearson", "mcc", "f1"])
def test_constant_predictions_count_nothing(name: str) -> None:
    predicted = np.zeros(4) if name in ("spearman", "pearson") else np.zeros(4, dtype=int)
    assert compute([name], predicted, np.array([0, 1, 0, 1])) == {name: 0.0}
