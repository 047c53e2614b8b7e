"""Margins, shares of layers, and the sentence that sums an example up."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from beft_core.inference.answers import Answer, margin, predicted, probabilities, short_name
from beft_core.snapshots.snapshot import ModelInfo, SnapshotMeta

LABELS = ("negative", "positive")


def row(*values: float) -> np.ndarray:
    return np.float32([values])


def answer(before: np.ndarray, after: np.ndarray, without: dict[int, np.ndarray], labels=LABELS) -> Answer:
    return Answer("b_v", labels, after, before, without)


def test_the_margin_is_the_log_odds() -> None:
    logits = np.float32([0.3, -1.2, 2.0])
    p = probabilities(logits)
    assert p.sum() == pytest.approx(1)
    for label in range(3):
        assert margin(logits, label) == pytest.approx(math.log(p[label] / (1 - p[label])), rel=1e-6)
    assert margin(np.float32([1.5, -0.5]), 0) == pytest.approx(2.0)
    assert margin(np.float32([3.25]), 0) == 3.25
    assert margin(np.float32([1e4, -1e4, 0]), 0) == pytest.approx(1e4)


def test_layers_and_the_rest_add_up_to_the_shift() -> None:
    one = answer(row(0.4, 0), row(0, 2), {0: row(0, 1.5), 3: row(0, 0.2)})
    effect = one.effect(0)
    assert effect.before == pytest.approx(-0.4) and effect.after == pytest.approx(2.0)
    assert effect.layers == pytest.approx({0: 0.5, 3: 1.8})
    assert effect.interaction == pytest.approx(2.4 - 2.3)
    other = one.effect(0, label=0)
    assert other.shift == pytest.approx(-effect.shift) and other.layers[3] == pytest.approx(-1.8)


def test_examples_that_were_not_taken_apart_have_no_layers() -> None:
    nothing = np.full((1, 2), np.nan, np.float32)
    one = answer(row(0.4, 0), row(0, 2), {0: nothing})
    assert one.effect(0).layers == {}
    assert one.verdict(0) == "b_v turned 'negative' 0.60 into 'positive' 0.88."


SURE, UNSURE, AGAINST = row(0, 2.3), row(0, 0.5), row(0.5, 0)
"""Positive 0.91, positive 0.62, negative 0.62."""


@pytest.mark.parametrize(
    ("before", "after", "without", "says"),
    [
        (AGAINST, SURE, {0: 2, 5: 0.1}, "turned 'negative' 0.62 into 'positive' 0.91; layer 5 made most of it."),
        (
            UNSURE,
            SURE,
            {1: 1.8, 2: 1.7, 4: 2.2},
            "kept 'positive', surer: 0.62 became 0.91; layers 2 and 1 made most of it.",
        ),
        (
            SURE,
            UNSURE,
            dict.fromkeys(range(5), 0.86),
            "kept 'positive', less sure: 0.91 became 0.62; no two layers made most of it.",
        ),
        (
            SURE,
            UNSURE,
            {1: 0.6, 2: 0.7},
            "kept 'positive', less sure: 0.91 became 0.62; the layers act together, layer 2 the most.",
        ),
        (UNSURE, SURE, {2: 0.5}, "kept 'positive', surer: 0.62 became 0.91; only layer 2 was trained."),
    ],
)
def test_the_verdict_on_a_class(before: np.ndarray, after: np.ndarray, without: dict[int, float], says: str) -> None:
    put_back = {layer: row(0, margin) for layer, margin in without.items()}
    assert answer(before, after, put_back).verdict(0) == f"b_v {says}"


def test_the_verdict_on_a_value_and_on_nothing() -> None:
    moved = answer(row(1.23), row(3.8), {0: row(3.7), 1: row(1.6)}, None)
    assert moved.verdict(0) == "b_v moved the value from 1.23 to 3.80; layer 1 made most of it."
    for still, what in (
        (answer(row(2.0), row(2.0), {}, None), "b_v moved nothing: 2.00"),
        (
            answer(row(0, 1), row(0, 1.001), {0: row(0, 1)}),
            "b_v changed next to nothing: 'positive' 0.73",
        ),
    ):
        assert still.verdict(0) == f"{what} is what the head says by itself."


def test_an_answer_survives_json() -> None:
    nothing = np.full((2, 2), np.nan, np.float32)
    one = answer(np.float32([[0.4, 0], [1, 2]]), np.float32([[0, 2], [3, 4]]), {0: nothing})
    one.without[0][1] = [0.1, 0.7]
    again = Answer.from_dict(json.loads(json.dumps(one.to_dict(), allow_nan=False)))
    assert (again.name, again.labels) == (one.name, one.labels)
    for name in ("logits", "before"):
        np.testing.assert_array_equal(getattr(again, name), getattr(one, name))
    np.testing.assert_array_equal(again.without[0], one.without[0])
    assert again.logits.dtype == np.float32


def test_predictions() -> None:
    assert predicted(np.float32([[0, 1], [2, 1]])).tolist() == [1, 0]
    assert predicted(np.float32([[0.5], [2]])).tolist() == [0.5, 2]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"trained_terms": ("v",)}, "b_v"),
        ({"trained_terms": ("q", "k", "v")}, "b_q, b_k and b_v"),
        ({"mode": "all", "trained_terms": ("q", "v")}, "all biases"),
        ({"mode": "merged", "trained_terms": ("v",)}, "merged b_v"),
        ({"mode": "head"}, "the head only"),
        ({"trained_terms": ()}, "the head only"),
        ({"trained_terms": (), "null_terms": ("k",)}, "b_k (null)"),
        ({"mode": "head", "null_terms": ("k",)}, "the head only"),
        ({"mode": "imported", "trained_terms": ("v",)}, "b_v"),
    ],
)
def test_names_of_fine_tunes(fields: dict, name: str) -> None:
    assert short_name(SnapshotMeta(ModelInfo("m", None, "bert", 3, 2, "0" * 64), "t", **fields)) == name
