"""A task says what its labels are, how it is read, and what a reader must know of it."""

from __future__ import annotations

import dataclasses

from beft_core.tasks.prompts.spec import PromptSpec
from beft_core.tasks.spec import Quick, TaskSpec

SPEC = TaskSpec("x", "X", "file", "word+text", "other", "label", ("no", "yes"), ("accuracy",), paper_text="text")


def test_the_kind_of_label_follows_from_labels_and_prompt() -> None:
    numbers = dataclasses.replace(SPEC, labels=None)
    own = PromptSpec("{text}", candidate_columns=("choices",))
    free = PromptSpec("{text}", trained_by="language_model")
    assert [spec.target.kind for spec in (SPEC, numbers)] == ["classification", "regression"]
    assert [dataclasses.replace(numbers, prompt=prompt).target.kind for prompt in (own, free)] == ["choice", "text"]
    fixed = dataclasses.replace(SPEC, prompt=PromptSpec("{text}", ("No", "Yes")))
    assert fixed.target.kind == "classification" and fixed.target.labels == ("no", "yes")


def test_columns_are_read_as_the_lab_or_as_the_authors_do() -> None:
    assert SPEC.reading("lab") is SPEC and SPEC.reading("paper").text == "text"
    assert SPEC.note == "inputs: quick reads word: text and other, paper text and other alone, as the authors do"
    plain = dataclasses.replace(SPEC, paper_text=None)
    assert plain.reading("paper") is plain and plain.note == ""


def test_what_a_task_has_unless_it_says_otherwise() -> None:
    assert (SPEC.quick, SPEC.evals, SPEC.prompt, SPEC.paper_preset) == (
        Quick(5e-3, 6),
        {"validation": "dev.tsv"},
        None,
        {},
    )
