"""The registry of approaches: what each entry says of itself, and what follows from the entries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from beft_core.scores.approaches import APPROACHES, MOVE, PAPER, TURN, of_movement, questions, score_words


def test_the_paper_selects_by_an_approach_of_its_own_that_needs_no_gradients() -> None:
    assert APPROACHES[PAPER].label == "Projection ratio" and APPROACHES[PAPER].needs == "movement"
    assert next(iter(APPROACHES)) == PAPER and questions()[TURN] == (APPROACHES[PAPER],)


def test_every_approach_says_what_it_is() -> None:
    for key, approach in APPROACHES.items():
        assert approach.key == key and all((approach.label, approach.formula, approach.caveat))
        assert "https://" in approach.reference
    assert len({approach.label for approach in APPROACHES.values()}) == len(APPROACHES)


def test_variants_of_a_question_have_words_that_differ() -> None:
    for asked in questions().values():
        words = [approach.variant for approach in asked]
        assert len(set(words)) == len(words) and all(words) == (len(words) > 1)
    assert [one.key for one in questions()[MOVE]] == ["magnitude", "magnitude_mean_abs"]


def test_words_in_links_are_those_of_before() -> None:
    assert score_words() == {
        "turned": "projection_ratio",
        "moved": "magnitude",
        "moved, mean": "magnitude_mean_abs",
    }


def test_only_what_compares_before_and_after_follows_a_fine_tune(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.key for one in of_movement()] == ["projection_ratio", "magnitude", "magnitude_mean_abs"]
    monkeypatch.setitem(APPROACHES, "late", replace(APPROACHES["magnitude"], key="late", variant="late"))
    assert of_movement()[-1].key == "late" and score_words()["moved, late"] == "late"
