"""Question of the page Start, predicted and then revealed in its place: which bias gets furthest, trained alone."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from beft_core.scores.approaches import PAPER
from beft_core.tasks.metrics import metric_in_words
from beft_core.terms import CANDIDATES
from dashboard.app_pages.start.answer import OFFERS, PICK, answered, asked, computed, offered, short_task
from dashboard.app_pages.start.bars import bars
from dashboard.app_pages.start.cases import Case
from dashboard.shared import address, explain, page, tour
from dashboard.tour_mark import mark

GUESS, NEXT = "guess", "next"
"""Names in the URL: the term that was guessed, and the number of the case after the first."""
SEEN = "seen"
"""Value of a guess in the URL where the answer is shown though nobody guessed, as a lecturer does."""

ANSWER_PIXELS, WORDS_PIXELS = 142, 114
"""Height of the three choices, which their bars then take, and of the words below: nothing moves at the answer."""


def question(found: Sequence[Case], dark: bool) -> None:
    """Draw the question on the first case, or on the last once the first is answered and the learner went on."""
    guess = st.query_params.get(GUESS)
    guess = guess if guess in (*CANDIDATES, SEEN) else None
    went_on = guess is not None and len(found) > 1 and st.query_params.get(NEXT) == "1"
    case = found[-1] if went_on else found[0]
    st.markdown(asked(case, went_on))
    with st.container(height=page.enlarged(ANSWER_PIXELS), border=False, gap="xsmall"):
        if guess is None:
            _choices()
        else:
            reached = {term: m.mean for term, m in case.alone.items()}
            st.html(bars(reached, guess, metric_in_words(str(case.probe.meta.metric))))
    with st.container(height=page.enlarged(WORDS_PIXELS), border=False, gap="xsmall"):
        if guess is None:
            st.caption(PICK)
        else:
            st.markdown(answered(case, guess))
        mark("guess")
    with st.container(horizontal=True, gap="xsmall"):  # always there: two rows of buttons would push the page
        _ways_on(found, guess, went_on)
        if guess is not None:
            with page.control("details", "guess", width="content"):
                _computed(case)


def _choices() -> None:
    for term in OFFERS:
        st.button(
            offered(term),
            key=f"guess-{term}",
            on_click=_guess,
            args=(term,),
            width="stretch",
        )


def _guess(term: str) -> None:
    address.put(GUESS, term)
    tour.done("guess")


def _ways_on(found: Sequence[Case], guess: str | None, went_on: bool) -> None:
    tasks = [short_task(found[at]) for at in (0, -1)]
    if len(found) > 1:
        st.button(
            f"Back to {tasks[0]}" if went_on else f"And now {tasks[1]}",
            key="next-case",
            icon=":material/arrow_back:" if went_on else ":material/arrow_forward:",
            type="secondary" if went_on else "primary",
            on_click=address.put,
            args=(NEXT, None if went_on else "1"),
            disabled=guess is None,
        )
    st.button("Guess again", key="guess-again", on_click=_again, disabled=guess is None, type="tertiary")


def _again() -> None:
    address.put(GUESS, None)
    address.put(NEXT, None)


def _computed(case: Case) -> None:
    """Draw what the numbers are, and how to compute them again."""
    with st.popover("Details", type="tertiary", icon=":material/function:"):
        st.markdown(computed(case))
        explain.computed(case.probe, [PAPER])
