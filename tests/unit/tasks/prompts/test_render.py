"""Rows that a prompt cannot be made of are refused with their place."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from beft_core.errors import UserError
from beft_core.tasks.prompts import render
from beft_core.tasks.prompts.render import examples_of
from beft_core.tasks.registry import TASKS

GOOD: dict[str, dict[str, Any]] = {
    "prompt-sst2": {"sentence": "fine", "label": "positive"},
    "prompt-copa": {"premise": "It fell.", "choice1": "A", "choice2": "B", "question": "cause", "label": 0},
    "prompt-record": {"passage": "A and B", "query": "@placeholder", "entities": ["A", "B"], "answers": ["A"]},
    "prompt-squad": {"title": "T", "context": "C", "question": "Q", "answers": ["a"]},
    "prompt-boolq": {"passage": "P", "question": "q", "label": 1},
    "prompt-wsc": {"text": "A saw B, who fell.", "span1_text": "B", "span2_text": "who", "label": 1},
}


@pytest.mark.parametrize(
    ("task", "change", "told"),
    [
        ("prompt-sst2", {"label": "happy"}, "got the label 'happy'; expected one of negative, positive"),
        ("prompt-sst2", {"label": None}, "got the label 'None'"),
        ("prompt-sst2", {"sentence": 3}, "got a number in 'sentence'; expected text"),
        ("prompt-sst2", {"sentence": ["a"]}, "got a list in 'sentence'"),
        ("prompt-sst2", {"sentence": "\ud800"}, "got half a character in 'sentence'"),
        ("prompt-copa", {"question": "why"}, "got 'why'; expected one of effect, cause"),
        ("prompt-copa", {"label": 2}, "got the candidate number 2; expected 0 to 1"),
        ("prompt-copa", {"label": "C"}, "got the answer 'C', which is no candidate; expected one of 'A', 'B'"),
        ("prompt-copa", {"label": -1}, "got the candidate number -1"),
        ("prompt-copa", {"label": True}, "got true or false in 'label'"),
        ("prompt-copa", {"choice2": "A"}, "got the candidate ' a' twice"),
        ("prompt-copa", {"choice2": " "}, "got an empty candidate"),
        ("prompt-record", {"entities": "A"}, "got text in 'entities'; expected a list of candidates"),
        ("prompt-record", {"entities": []}, "got no candidates in 'entities'"),
        ("prompt-record", {"answers": []}, "got no answer in 'answers'; expected one or more of the candidates"),
        ("prompt-record", {"answers": ["A", "X"]}, "got the answer 'X', which is no candidate"),
        ("prompt-squad", {"answers": []}, "got no answer in 'answers'; expected one or more texts"),
        ("prompt-squad", {"answers": [" ", None]}, "got nothing in 'answers'"),
        ("prompt-squad", {"answers": " "}, "got no answer"),
    ],
)
def test_what_is_refused(task: str, change: dict[str, Any], told: str) -> None:
    rows = [("file, row 1", GOOD[task]), ("file, row 2", {**GOOD[task], **change})]
    with pytest.raises(UserError) as error:
        examples_of(TASKS[task], rows, "file")
    assert str(error.value).startswith(f"file, row 2: {told}")


def test_columns_that_are_not_there_and_tables_without_rows() -> None:
    with pytest.raises(UserError, match="row 1: got no column 'sentence'; expected one of its columns: text, label"):
        examples_of(TASKS["prompt-sst2"], [("row 1", {"text": "a", "label": "0"})], "file")
    with pytest.raises(UserError, match="row 1: got no column 'label'"):
        examples_of(TASKS["prompt-sst2"], [("row 1", {"sentence": "a"})], "file")
    with pytest.raises(UserError, match="file: got no examples"):
        examples_of(TASKS["prompt-sst2"], [], "file")


def test_a_right_candidate_is_named_or_numbered() -> None:
    row = GOOD["prompt-copa"] | {"choice1": "1", "choice2": "0"}
    rows = [("", {**row, "label": label}) for label in (1, "1", "0", ["0", "1"])]
    # A whole number counts from 0; a text is first looked for among the candidates.
    assert examples_of(TASKS["prompt-copa"], rows, "").golds == [(1,), (0,), (1,), (1, 0)]
    named = examples_of(TASKS["prompt-copa"], [("", {**GOOD["prompt-copa"], "label": "1"})], "")
    assert named.golds == [(1,)]


def test_answers_are_told_once_and_trained_on_the_first() -> None:
    row = GOOD["prompt-squad"] | {"answers": ["in  1858 ", "in 1858", "", "1858\n\n1859"]}
    examples = examples_of(TASKS["prompt-squad"], [("", row)], "")
    assert examples.answers == [("in 1858", "1858\n1859")] and examples.candidates == [(" in 1858\n",)]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "MAX_MEMORY", 60)
    spec = dataclasses.replace(TASKS["prompt-sst2"])
    with pytest.raises(UserError, match="row 3: got more than 60 characters of prompts"):
        examples_of(spec, ((f"row {i}", GOOD["prompt-sst2"]) for i in range(1, 9)), "file")


@pytest.mark.parametrize(
    ("task", "about"),
    [
        ("prompt-boolq", "passage"),
        ("prompt-wsc", "text"),
        ("prompt-record", "passage"),
        ("prompt-squad", "context"),
    ],
)
def test_rows_about_one_text_are_a_group(task: str, about: str) -> None:
    """A passage with its questions, or a sentence with its names, by its text: files nest them, the Hub does not."""
    rows = [("row", {**GOOD[task], about: text}) for text in ("A and B", "B and A", "A and B")]
    assert examples_of(TASKS[task], rows, "file").groups == [0, 1, 0]
    assert examples_of(TASKS["prompt-sst2"], [("row", GOOD["prompt-sst2"])], "file").groups is None


@pytest.mark.parametrize(
    ("task", "premise", "other"), [("rte", "sentence1", "sentence2"), ("cb", "premise", "hypothesis")]
)
def test_pairs_that_share_a_premise_are_a_group(task: str, premise: str, other: str) -> None:
    rows = [("row", {premise: one, other: "C", "label": "entailment"}) for one in ("A", "B", "A")]
    assert examples_of(TASKS[f"prompt-{task}"], rows, "file").groups == [0, 1, 0]
