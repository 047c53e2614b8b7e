"""Cells of tables: what is text, and what something else is called."""

from __future__ import annotations

import pytest

from beft_core.errors import UserError
from beft_core.tasks.cells import kind_of, text_of


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "nothing"), (True, "true or false"), (1.5, "a number"), ([], "a list"), ({}, "an object")],
)
def test_what_is_no_text_is_named(value: object, words: str) -> None:
    assert kind_of(value) == words
    with pytest.raises(UserError, match=f"^t.csv, row 2: got {words} in 'text'"):
        text_of(value, "text", "t.csv, row 2: ")


def test_text_is_given_back_and_half_a_character_refused() -> None:
    assert kind_of("x") == "text" and text_of("", "text") == "" and text_of("🎈 ü", "text") == "🎈 ü"
    assert kind_of(b"x") == "a value of type bytes"
    with pytest.raises(UserError, match=r"^got half a character in 'text'"):
        text_of("\ud83c", "text")
