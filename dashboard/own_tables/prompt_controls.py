"""Controls of a prompt over the columns of a table of the user's own: its text, its candidates, the right answer."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from beft_core.errors import UserError
from beft_core.settings.arguments import candidates as split_candidates
from beft_core.tasks.own_prompts import OwnPrompt
from beft_core.tasks.sources.table_preview import Preview
from dashboard.shared.text import A_HEAD, A_PROMPT, NO_COLUMN, plain


def choose_who_answers(key: Callable[[str], str]) -> None:
    """Draw who answers. ``key``: makes the key of a control from its short name."""
    st.segmented_control(
        "Answered by",
        [A_HEAD, A_PROMPT],
        default=A_HEAD,
        key=key("answered"),
        required=True,
        bind="query-params",
        help="a trained head: a class or a number for each text. a prompt: a language model goes on with a text that "
        "you write around the columns; no head is trained.",
    )


def is_prompt(key: Callable[[str], str]) -> bool:
    """Say whether a prompt was chosen."""
    return bool(st.session_state.get(key("answered")) == A_PROMPT)


def prompt_of(key: Callable[[str], str], preview: Preview) -> OwnPrompt:
    """Read the prompt as the controls have it, and where they were not drawn yet, as :func:`draw` begins.

    Raises:
        UserError: what is no prompt, or a column that the table does not have.
    """
    guess = preview.guess()
    label = st.session_state.get(key("label"))
    column = st.session_state.get(key("own"), NO_COLUMN)
    own = OwnPrompt(
        _with_newlines(st.session_state.get(key("prompt")) or beginning(preview)),
        label if label in preview.columns else guess.label,
        split_candidates([st.session_state.get(key("candidates")) or ""]) if column not in preview.columns else (),
        column if column in preview.columns else None,
    )
    for name in own.wanted:
        if name not in preview.columns:
            shown = ", ".join(preview.columns[:20])
            raise UserError(f"got no column {name!r}, which the prompt names", f"one of its columns: {shown}")
    return own


def draw(key: Callable[[str], str], preview: Preview, column: Callable[[str, str, list[str], str], None]) -> None:
    """Draw the prompt, the column of the right answer, and the candidates.

    ``column``: draws a list of columns: (label, short name, options, what it begins with).
    """
    st.text_input(
        "Prompt",
        beginning(preview),
        key=key("prompt"),
        bind="query-params",
        help="A column in braces is its text: {review} It was. \\n is a newline. After a bar what is done to the text: "
        "{review|strip}; also lower, capital, lower_first_word, question_mark, no_full_stop. The answer follows, so "
        "no space at the end.",
    )
    left, right = st.columns(2)
    with left:
        column("Right answer", "label", list(preview.columns), preview.guess().label)
    with right:
        column("Each row's own candidates", "own", [NO_COLUMN, *preview.columns], NO_COLUMN)
    if st.session_state.get(key("own"), NO_COLUMN) == NO_COLUMN:
        st.text_input(
            "Candidates of every row",
            key=key("candidates"),
            bind="query-params",
            placeholder="none: the answer is free text",
            help="Between commas: terrible, great. Or with the labels of the table that they stand for: neg=terrible, "
            "pos=great. None: the model is trained to write the answer.",
        )


def shown(prompt: str) -> None:
    """Draw the first prompt as the model reads it."""
    st.caption(f"The first prompt: {plain(prompt.replace(chr(10), ' ↵ '), 300)}")


def beginning(preview: Preview) -> str:
    """Write a prompt to begin with: the likely text, and words after it."""
    text = preview.guess().text
    return f"{{{text}}} It was" if not set(text) & set("{}|") else ""


def _with_newlines(template: str) -> str:
    return template.replace("\\n", "\n")
