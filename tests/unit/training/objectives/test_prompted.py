"""What prompted objectives share: what they predict, which of several right answers counts, and what they refuse."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from beft_core.errors import UserError
from beft_core.tasks.examples import Examples
from beft_core.tasks.targets import Choice, Classes, FreeText
from beft_core.training.batches.encoded import Encoded
from beft_core.training.objectives.candidates import Candidates
from beft_core.training.objectives.generation import Generation

SCORES = np.array([[-1, -2, -1e9], [-3, -2, -1], [-1, -1, -1]], np.float32)


def judged(golds: list[tuple[int, ...]] | None) -> float:
    examples = Examples(["a"] * 3, None, np.array([0, 0, 1]), candidates=[(" b", " c")] * 3, golds=golds)
    encoded = dataclasses.replace(Encoded.of([np.ones(1)] * 3, None, examples.labels), source=examples)
    return Generation(Choice()).judge(["accuracy"], SCORES, encoded)["accuracy"]


def test_any_of_several_right_candidates_is_right() -> None:
    assert Generation(Choice()).predict(SCORES).tolist() == [0, 2, 0]
    assert judged(None) == pytest.approx(1 / 3)
    assert judged([(0,), (0, 2), (1,)]) == pytest.approx(2 / 3)
    assert judged([(0,), (0, 2), (1, 0)]) == 1


def test_texts_are_judged_as_answers() -> None:
    examples = Examples(["a", "b"], None, np.zeros(2, int), answers=[("The cat.", "dog"), ("red wine",)])
    encoded = dataclasses.replace(Encoded.of([np.ones(1)] * 2, None, examples.labels), source=examples)
    found = Generation(FreeText()).judge(["answer_f1", "exact_match"], ["cat", "white wine"], encoded)
    assert found == {"answer_f1": pytest.approx(0.75), "exact_match": pytest.approx(0.5)}


def test_a_snapshot_is_told_the_objective_and_that_there_is_no_head() -> None:
    objective = Candidates(Classes(("terrible", "great")))
    assert objective.head() == {
        "kind": "classification",
        "labels": ["terrible", "great"],
        "objective": "candidates",
    }
    assert objective.head_outputs is None


def model(**layout: Any) -> Any:
    def tokenizer(texts: list[str] | str, **_: Any) -> dict[str, Any]:
        return {
            "input_ids": [[ord(word) for word in text.split()] for text in texts] if isinstance(texts, list) else []
        }

    facts = {"lm": "a head", "packing": True, "model_type": "x", **layout}
    config = SimpleNamespace(max_position_embeddings=5)
    return SimpleNamespace(tokenizer=tokenizer, layout=SimpleNamespace(**facts), config=config)


def test_no_text_is_longer_than_the_positions_of_the_model() -> None:
    examples = Examples(["a b c d e f"], None, np.zeros(1, int), candidates=[(" g", " h")])
    encoded = Candidates(Classes(("g", "h"))).encode(model(), examples, 2048)
    assert encoded.ids[0].tolist() == [ord(letter) for letter in "cdef"]  # and one more for the answer


@pytest.mark.parametrize(
    ("layout", "candidates", "told"),
    [
        ({"lm": None, "model_type": "bert"}, [(" b",)], "got bert, which is no language model, for a task of prompts"),
        ({}, None, "got examples without candidates"),
        (
            {"packing": False, "model_type": "falcon"},
            [(" b c d", " b e f")],
            "got falcon, which cannot score several answers",
        ),
    ],
)
def test_what_cannot_be_asked(layout: dict[str, Any], candidates: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        examples = Examples(["a"], None, np.zeros(1, int), candidates=candidates)
        Candidates(Classes(("b", "c"))).encode(model(**layout), examples, 9)
