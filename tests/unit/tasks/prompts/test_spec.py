"""Prompts without their answers, answers with the space that belongs to them."""

from __future__ import annotations

import pytest

from beft_core.errors import UserError
from beft_core.tasks.prompts import spec
from beft_core.tasks.prompts.spec import PromptSpec, continued


def test_the_space_belongs_to_the_answer_except_after_a_newline() -> None:
    assert continued("It was", "great") == " great" == continued("It was", " great ")
    assert continued("Yes or No?\n", "Yes") == "Yes"
    with pytest.raises(UserError, match="got an empty candidate"):
        continued("It was", " ")


def test_a_prompt_with_fixed_candidates() -> None:
    prompt = PromptSpec("  {text} It was ", ("terrible", "great"))
    assert (prompt.kind, prompt.answered_by, prompt.columns) == ("classification", "candidates", ("text",))
    written = prompt.prompt_of({"text": "fine"})
    assert written == "fine It was"
    assert prompt.continuations(written, {"text": "fine"}, prompt.candidates) == (" terrible", " great")


def test_a_prompt_with_candidates_of_its_own() -> None:
    prompt = PromptSpec(
        "{passage}\n-",
        candidate_columns=("names",),
        continuation="{query}",
        placeholder="@x",
        trained_by="language_model",
    )
    row = {"passage": "A met B.", "query": "@x spoke, said {@x}. "}
    assert (prompt.kind, prompt.columns) == ("choice", ("passage", "query"))
    assert prompt.continuations("A met B.\n-", row, ("A", "B")) == (" A spoke, said {A}.", " B spoke, said {B}.")


def test_a_prompt_in_free_text() -> None:
    prompt = PromptSpec("Q: {q}\nA:", trained_by="language_model")
    assert (prompt.kind, prompt.answered_by, prompt.max_new_tokens) == ("text", "generation", 50)
    assert prompt.answer("Q: what?\nA:", "that") == " that\n"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"candidates": ("a",)}, "one candidate"),
        ({"candidates": ("a", " a")}, "the candidate 'a' twice"),
        ({"candidates": ("a", "")}, "an empty candidate"),
        ({"candidates": ("a", "b"), "candidate_columns": ("c",)}, "candidates and columns of candidates"),
        ({"candidates": ("a", "b"), "continuation": "{"}, "a single {"),
        ({}, "a prompt without candidates that is trained by candidates"),
        ({"trained_by": "guessing"}, "trained_by = 'guessing'"),
    ],
)
def test_what_contradicts_itself(fields: dict, told: str) -> None:
    with pytest.raises(UserError, match=f"got {told}"):
        PromptSpec("{text}", **fields)


def test_rows_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = PromptSpec("{text}", candidate_columns=("names",))
    with pytest.raises(UserError, match=r"got an empty prompt; expected text for '{text}'"):
        prompt.prompt_of({"text": "\n "})
    with pytest.raises(UserError, match="got the candidate ' a' twice"):
        prompt.continuations("x", {"text": "x"}, ("a", "b", "a"))
    with pytest.raises(UserError, match="got 1,001 candidates"):
        prompt.continuations("x", {"text": "x"}, [str(i) for i in range(1001)])
    monkeypatch.setattr(spec, "MAX_TEXT", 5)
    with pytest.raises(UserError, match="got a prompt of 6 characters"):
        prompt.prompt_of({"text": "abcdef"})
