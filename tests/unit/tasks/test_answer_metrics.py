"""F1 and exact match of free text, by hand and by the rules of the official scripts."""

from __future__ import annotations

import pytest

from beft_core.tasks.answer_metrics import (
    ANSWER_METRICS,
    compute_answers,
    drop_f1,
    drop_normalized,
    normalized,
    token_f1,
)


def test_squads_normalisation() -> None:
    assert normalized(" The  U.S.A.'s\tan-swer, a ") == "usas answer"
    assert normalized("Theatre and Anthem") == "theatre and anthem"  # articles only as words
    assert normalized("the") == ""


@pytest.mark.parametrize(
    ("predicted", "gold", "f1"),
    [
        ("the cat sat", "cat sat", 1.0),
        ("cat cat dog", "cat", 2 * (1 / 3) * 1 / (1 / 3 + 1)),  # precision 1/3, recall 1
        ("cat cat dog", "cat cat", 2 * (2 / 3) * 1 / (2 / 3 + 1)),
        ("Saint Bernadette", "Saint Bernadette Soubirous", 2 * 1 * (2 / 3) / (1 + 2 / 3)),
        ("dog", "cat", 0.0),
        ("", "cat", 0.0),
        ("a", "the", 0.0),  # nothing is left of both: no shared word
    ],
)
def test_f1_of_words(predicted: str, gold: str, f1: float) -> None:
    assert token_f1(predicted, gold) == pytest.approx(f1)


def test_the_best_of_several_right_answers_counts_and_examples_are_averaged() -> None:
    predicted = ["in 1858", "no idea"]
    answers = [("1858", "In 1858."), ("Rome",)]
    assert compute_answers(("answer_f1", "exact_match"), predicted, answers) == {"answer_f1": 0.5, "exact_match": 0.5}
    with pytest.raises(ValueError, match="zip"):
        ANSWER_METRICS["exact_match"](["one"], answers)


def test_drops_normalisation() -> None:
    assert drop_normalized("A 25-yard field goal") == "25.0 yard field goal"
    assert drop_normalized("2,100") == drop_normalized("2100.0") == "2100.0"  # commas go, since 2,100 is no float
    assert drop_normalized("5%") == "5.0" and drop_normalized("$1.5") == "15.0"  # as the script: punctuation goes first


@pytest.mark.parametrize(
    ("predicted", "gold", "f1"),
    [
        ("4", "4.0", 1.0),
        ("4 yards", "4", 0.67),  # precision 1/2, recall 1
        ("5 yards", "4 yards", 0.0),  # another number: words do not help
        ("yards", "4 yards", 0.0),
        ("4 yards", "yards", 0.67),  # the gold has no number
        ("Smith\nJones", "Jones\nSmith", 1.0),  # aligned whatever the order
        ("Smith", "Jones\nSmith", 0.5),  # one span is missing
        ("Smith\nJones\nBrown", "Jones\nSmith", 0.67),  # one too many
        ("Smith Jones", "Jones\nSmith", 0.33),  # one bag of two: (2/3 + 0) / 2
        ("", "Smith", 0.0),
    ],
)
def test_drops_f1(predicted: str, gold: str, f1: float) -> None:
    assert drop_f1(predicted, gold) == f1


def test_a_half_is_rounded_as_the_script_rounds_it() -> None:
    predicted, gold = "bush cox\ntate young", "bush dunn ely\ntate park quin ross stone unger"  # spans of 0.4 and 0.25
    assert drop_f1(predicted, gold) == 0.32  # numpy's, of 0.325; Python's would be 0.33


def test_drops_metrics_keep_spans_together_and_the_authors_take_each_alone() -> None:
    predicted, answers = ["Jones"], [("Smith\nJones", "12")]
    assert compute_answers(tuple(ANSWER_METRICS), predicted, answers) == {
        "answer_f1": 1.0,
        "exact_match": 1.0,
        "drop_f1": 0.5,
        "drop_exact_match": 0.0,
    }
    assert ANSWER_METRICS["drop_exact_match"](["jones\nthe Smith"], answers) == 1
    assert ANSWER_METRICS["drop_exact_match"](["jones\nsmith\nsmith"], answers) == 0
