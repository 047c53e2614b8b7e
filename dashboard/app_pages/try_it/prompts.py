"""Prompt that fine-tunes of a language model are asked, as the model reads it, and the candidates for its answer."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from beft_core.errors import UserError
from beft_core.tasks.prompts.spec import PromptSpec
from dashboard.app_pages.try_it.scored import examples_of, own_candidates
from dashboard.app_pages.try_it.setup import FIRST, MOST_CHARACTERS, Setup
from dashboard.shared import page
from dashboard.shared.text import plain

PROMPT, CANDIDATES = "try_prompt", "try_candidates"
"""Keys of the controls, and their names in the URL."""
OFFERED = "try_offered"
"""Session state: task whose prompt the page itself put into the field, and that prompt."""
MOST_CANDIDATES = 50


def prompt_and_candidates(setup: Setup) -> tuple[str, list[str]]:
    """Draw the prompt, and the candidates where the task has some; return them, without candidates of free text."""
    rule = setup.prompt
    assert rule is not None
    if _is_to_begin(setup.task):
        text, own = _beginning(setup, rule)
        of_another = PROMPT in st.session_state
        _put(setup, text)
        if own and (of_another or (CANDIDATES not in st.session_state and CANDIDATES not in st.query_params)):
            st.session_state[CANDIDATES] = "\n".join(own)
    found: list[str] = []
    with page.control("choose", "try-prompt", horizontal=True):
        prompt = st.text_area(
            "Prompt, as the model reads it",
            max_chars=MOST_CHARACTERS,
            height=110,
            key=PROMPT,
            bind="query-params",
            persist_state="page",
            width=620,
            help=f"The task asks: {plain(rule.template.replace(chr(10), ' ↵ '))}. Any other words may be asked, too.",
        )
        if rule.answered_by == "candidates":
            if rule.candidates and CANDIDATES not in st.session_state and CANDIDATES not in st.query_params:
                st.session_state[CANDIDATES] = "\n".join(rule.candidates)
            written = st.text_area(
                "Candidates, one a line",
                height=110,
                key=CANDIDATES,
                bind="query-params",
                persist_state="page",
                width=240,
            )
            found = [line.strip() for line in (written or "").splitlines() if line.strip()][:MOST_CANDIDATES]
    return prompt or "", found


def open_prompt(setup: Setup, text: str, candidates: str | None) -> None:
    """Put a prompt, and its own candidates where it has some, into the fields. For callbacks."""
    _put(setup, text)
    assert setup.prompt is not None
    if setup.prompt.answered_by != "candidates":
        return  # and the candidates of the next task are its own, not none
    own = candidates.splitlines() if candidates else list(setup.prompt.candidates)
    st.session_state[CANDIDATES] = "\n".join(own)


def _put(setup: Setup, text: str) -> None:
    st.session_state[PROMPT] = text
    st.session_state[OFFERED] = setup.task, text


def _is_to_begin(task: str) -> bool:
    """Say whether there is no prompt yet, or the one that the page put there for another task."""
    if PROMPT not in st.session_state:
        return PROMPT not in st.query_params
    of, text = st.session_state.get(OFFERED, (task, ""))
    return bool(of != task and st.session_state[PROMPT] == text)


def _beginning(setup: Setup, rule: PromptSpec) -> tuple[str, Sequence[str]]:
    """Write a prompt to begin with: a sentence in its one column, else the task's first, else the names of columns."""
    if len(rule.columns) == 1 and rule.candidates:
        return rule.prompt_of({rule.columns[0]: FIRST}), rule.candidates
    try:
        part = next(iter(examples_of(setup.runs[0], setup.task).evals.values()))
    except UserError:
        return rule.prompt_of(dict(zip(rule.columns, rule.columns, strict=True))), rule.candidates
    own = own_candidates(part)[0]
    return part.text[0], rule.candidates or (own or "").splitlines()
