"""The best constant answer, against trying every answer, and how sure a metric is."""

from __future__ import annotations

import numpy as np
import pytest

from beft_core.tasks.constant_answer import constant_answer, judged, uncertainty
from beft_core.tasks.metrics import METRICS


@pytest.mark.parametrize("metric", ["accuracy", "f1", "f1_macro", "mcc"])
@pytest.mark.parametrize("labels", [[0, 1, 1, 1, 0, 1], [0, 0, 0, 1], [2, 0, 0, 1, 0], [1, 1, 1], [3, 3, 5]])
def test_no_constant_answer_is_better(metric: str, labels: list[int]) -> None:
    truth = np.array(labels)
    if metric == "f1" and not set(labels) <= {0, 1}:
        pytest.skip("F1 is of two classes")
    tried = max(METRICS[metric](np.full_like(truth, answer), truth) for answer in {*labels, 1})
    assert constant_answer(truth, metric) == pytest.approx(0.0 if metric == "mcc" else tried)


def test_of_several_right_answers_any_counts() -> None:
    labels, golds = np.array([0, 1, 2, 0]), [(0, 3), (1, 3), (2, 3), ()]
    assert constant_answer(labels, "accuracy") == 0.5
    assert constant_answer(labels, "accuracy", golds) == 0.75
    assert judged(np.array([3, 0, 3, 3]), labels, golds).tolist() == [3, 1, 3, 0]


def test_numbers_have_no_constant_answer_but_zero() -> None:
    values = np.array([0.5, 1.0, 3.0], dtype=np.float32)
    assert constant_answer(values, "spearman") == constant_answer(values, "pearson") == 0


def test_more_examples_say_it_more_surely() -> None:
    assert uncertainty("accuracy", 0.5, 100) == pytest.approx(0.1)
    assert uncertainty("accuracy_matched", 0.9, 900) == pytest.approx(0.02)
    assert uncertainty("f1_macro", 0.5, 400) == pytest.approx(0.05)
    assert uncertainty("spearman", 0.9, 100) == uncertainty("accuracy", 1.0, 100) == pytest.approx(0.2)
