"""Controls of Fine-tune that only language models and their prompts have: added biases, demonstrations, and words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from beft_core.architectures.layout import Layout
from beft_core.errors import UserError
from beft_core.settings.added_biases import addable, usual
from beft_core.tasks.examples import Examples
from beft_core.tasks.prompts.demonstrations import MAX_DEMONSTRATIONS
from beft_core.tasks.sources import official
from beft_core.tasks.sources.prompt_files import FORMATS
from beft_core.tasks.spec import TaskSpec
from beft_core.terms import TERM_KEYS, TERMS
from dashboard.shared import marked, page
from dashboard.shared.text import plain

ADDED, DEMONSTRATIONS = "ft_add", "ft_demos"
"""Keys of the controls, and their names in the URL."""


# --- added biases --------------------------------------------------------------------------------------------------


def wanted_by_default(model: str) -> list[str]:
    """Choose the terms that a model begins with; none of one that this server may not open."""
    try:
        return usual(page.model_of_page(model))
    except UserError:
        return []


def choose_added(layout: Layout | None, model: str) -> None:
    """Draw which zero biases a model is given, where it lacks some. ``layout``: None where it is not known yet."""
    options = [*TERM_KEYS] if layout is None else [*addable(layout)]
    if not options:
        return
    if ADDED in st.session_state:  # another model may have a place for others
        st.session_state[ADDED] = [term for term in st.session_state[ADDED] or [] if term in options]
    st.pills(
        "Added biases",
        options,
        selection_mode="multi",
        default=wanted_by_default(model),
        key=ADDED,
        bind="query-params",
        help="Zero biases where the model has none, which change nothing until they are trained: "
        + "; ".join(f"{term}: {TERMS[term].label} bias" for term in options),
    )


# --- prompts -------------------------------------------------------------------------------------------------------


def choose_demonstrations() -> None:
    """Draw how many answered examples stand before each validation prompt."""
    st.number_input(
        "Demonstrations",
        0,
        MAX_DEMONSTRATIONS,
        0,
        key=DEMONSTRATIONS,
        bind="query-params",
        help="Training examples with their right answers before each validation prompt (in-context learning), drawn "
        "afresh for each. The authors take 32. To see what they do alone, take the method nothing (zero-shot).",
    )


def lengths_in_words(found: dict[str, Any]) -> str:
    """Write how many prompts lose tokens, of an estimate's ``prompts``, for Markdown."""
    some = "" if found["counted"] == found["total"] else f" ({found['counted']:,} of {found['total']:,} were counted)"
    if not found["cut"]:
        return f"No prompt is cut: the longest has {found['longest']:,} of {found['most']:,} tokens{some}."
    return (
        f"**{found['cut']:,} of {found['counted']:,} prompts are cut** at the left: the longest has "
        f"{found['longest']:,} tokens, {found['most']:,} are allowed{some}."
    )


def about_head(spec: TaskSpec, layout: Layout | None) -> str:
    """Write that a decoder is about to get a classification head; empty for others, and for prompts."""
    if layout is None or layout.lm is None or spec.prompt is not None:
        return ""
    same = f"prompt-{spec.name}"
    instead = f" Asked in words, without a head, it is the task {same}." if same in marked.PROMPT_NAMES else ""
    return f"{plain(layout.model_type)} is a language model; this task trains a classification head on it.{instead}"


def first_examples(spec: TaskSpec, count: int = 3) -> list[dict[str, str]]:
    """Read the first validation prompts with their right answers; none where the data is not here. Raises UserError."""
    folder = official.find_folder(spec)
    if folder is None:
        return []
    if folder.suffix.lower() in FORMATS:
        part = official.read_task(spec, folder)[1]["validation"]
    else:
        part = official.read_file(spec, folder / Path(next(iter(spec.evals.values()))))
    return [{"prompt": part.text[at], "answer": right_answer(part, at)} for at in range(min(count, len(part)))]


def right_answer(examples: Examples, at: int) -> str:
    """Write the right answer to a prompt, without white space around it."""
    assert examples.candidates is not None
    if examples.answers is not None:
        return examples.answers[at][0]
    gold = int(examples.labels[at]) if examples.golds is None else examples.golds[at][0]
    return examples.candidates[at][gold].strip()
