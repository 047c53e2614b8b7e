"""Language models on the page: candidates after a prompt, text that is written, and the prompts of the task."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.app_pages.try_it.examples import examples, offer_one
from dashboard.app_pages.try_it.prompts import prompt_and_candidates
from dashboard.app_pages.try_it.results import results
from dashboard.app_pages.try_it.setup import CANDIDATES_TAB, Setup
from dashboard.app_pages.try_it.writing import writing
from dashboard.shared.picker import TRY_EXAMPLES, TRY_TAB
from dashboard.shared.text import plain

WRITES = "Let it write"
"""Name of the tab."""


def ask_in_words(setup: Setup, above: DeltaGenerator, dark: bool) -> None:
    """Draw the prompt, and what fine-tunes of a language model make of it.

    ``above``: container at the top of the page, for the verdict.
    """
    assert setup.prompt is not None
    prompt, candidates = prompt_and_candidates(setup)
    offer_one(setup)
    if setup.prompt.answered_by == "generation":
        with above:
            st.caption("The answer is free text, which the base model and the fine-tunes write side by side.")
        _write(setup, prompt)
        return
    chooses, writes, of_task = st.tabs([CANDIDATES_TAB, WRITES, TRY_EXAMPLES], key=TRY_TAB, bind="query-params")
    if chooses.open:
        with chooses:
            if not prompt.strip() or len(set(candidates)) < 2 or len(set(candidates)) < len(candidates):
                st.info("A prompt, and two candidates or more that differ, one a line.", icon=":material/edit:")
            else:
                results(setup, [prompt.strip(" ")], None, above, dark, candidates)
    if writes.open:
        with writes:
            _write(setup, prompt)
    if of_task.open:
        with of_task:
            examples(setup, above)


def _write(setup: Setup, prompt: str) -> None:
    """Draw what fine-tunes of biases write; an adapter has no dial, and writes nothing here."""
    biases = tuple(run for run in setup.runs if not run.adapted)
    if len(biases) < len(setup.runs):
        left = ", ".join(run.name for run in setup.runs if run.adapted)
        st.caption(f":material/block: {plain(left)}: an adapter has no λ to turn, so it does not write here.")
    if biases:
        writing(replace(setup, runs=biases), prompt)
