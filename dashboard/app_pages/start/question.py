"""Question of the page Start, predicted and then revealed in its place: which bias gets furthest, trained alone."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from beft_core.architectures.certified import certified
from beft_core.scores.approaches import PAPER
from beft_core.terms import CANDIDATES, TERMS
from dashboard.app_pages.start.bars import bars
from dashboard.app_pages.start.cases import Case
from dashboard.figures.parts.numbers import short
from dashboard.figures.parts.style import latex, name_in_text, tinted
from dashboard.shared import address, explain, page, tour
from dashboard.shared.regimes import task_title
from dashboard.shared.text import plain

GUESS, NEXT = "guess", "next"
"""Names in the URL: the term that was guessed, and the number of the case after the first."""

OFFERS: dict[str, str] = {
    "q": "what a word looks for",
    "k": "what a word answers to",
    "v": "what a word hands on",
}
ANSWER_PIXELS, WORDS_PIXELS = 142, 114
"""Height of the three choices, which their bars then take, and of the words below: nothing moves at the answer."""
_BY_FAR, _LEVEL = 0.1, 0.02
"""Least lead, of a metric from 0 to 1, that is called "by far", and largest one at which two terms are as good."""
_ROOM = 1.25
"""Factor of presenter mode's larger type."""


def question(found: Sequence[Case], dark: bool) -> None:
    """Draw the question on the first case, or on the last once the first is answered and the learner went on."""
    guess = st.query_params.get(GUESS)
    guess = guess if guess in CANDIDATES else None
    went_on = guess is not None and len(found) > 1 and st.query_params.get(NEXT) == "1"
    case = found[-1] if went_on else found[0]
    task = plain(task_title(case.probe.meta.task))
    factor = _ROOM if page.presenting() else 1
    st.markdown(
        f"**{'Now ' if went_on else ''}{task}**, {case.probe.meta.n_train:,} examples. Train **one bias alone**: which "
        "gets furthest?"
    )
    with st.container(height=round(ANSWER_PIXELS * factor), border=False, gap="xsmall"):
        if guess is None:
            _choices()
        else:
            reached = {term: m.mean for term, m in case.alone.items()}
            st.html(bars(reached, guess, str(case.probe.meta.metric)))
    with st.container(height=round(WORDS_PIXELS * factor), border=False, gap="xsmall"):
        if guess is None:
            st.caption(
                "Pick one: then you see what each of them got, on a small language model with everything else frozen."
            )
        else:
            st.markdown(_verdict(case, guess))
    with st.container(horizontal=True, gap="xsmall"):  # always there: two rows of buttons would push the page
        _ways_on(found, guess, went_on)
        if guess is not None:
            with page.control("details", "guess", width="content"):
                _computed(case)


def _choices() -> None:
    for term, offer in OFFERS.items():
        st.button(
            f"**{name_in_text(term)}**: {offer}",
            key=f"guess-{term}",
            on_click=_guess,
            args=(term,),
            width="stretch",
        )


def _guess(term: str) -> None:
    address.put(GUESS, term)
    tour.done("guess")


def _ways_on(found: Sequence[Case], guess: str | None, went_on: bool) -> None:
    tasks = [plain(task_title(found[at].probe.meta.task).partition(":")[0]) for at in (0, -1)]
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


def _verdict(case: Case, guess: str) -> str:
    """Write who won, by training alone, and whether the score had named it. Every clause holds for what is shown."""
    values = {term: f"{100 * m.mean:.1f}" for term, m in case.alone.items()}
    ranked = sorted(values, key=lambda term: -case.alone[term].mean)
    best, others = ranked[0], ranked[1:]
    right = "Right: the " if guess == best else "The "
    won = tinted(best)
    if best != case.named:
        won += f" is {'**as good** as' if case.lead >= -_LEVEL else '**ahead** of'} {latex(case.named)}"
    elif case.lead >= _BY_FAR:
        won += ", by far"
    scores = case.probe.scores.mean_scores(PAPER, case.probe.scores.stacks[0])
    ratios = " against ".join(
        short(scores[term], 2) for term in (case.named, *(t for t in ranked if t != case.named and scores[t] > 0))
    )
    score = (
        f"The **score** had said so, after one run of all biases: {latex(case.named)} turned furthest ({ratios})."
        if best == case.named
        else f"Yet the **score** names {latex(case.named)} ({ratios}): it says how far a bias *turned*, not "
        "how much it helps."
    )
    numbers = f"{values[best]} against " + " and ".join(values[term] for term in others)
    return f"{right}{won}: **{numbers}**. {score}"


def _computed(case: Case) -> None:
    """Draw what the numbers are, and how to compute them again."""
    meta = case.probe.meta
    with st.popover("Details", type="tertiary", icon=":material/function:"):
        seeds = min(len(m.values) for m in case.alone.values())
        null = [term for term in certified(meta).terms if term in CANDIDATES]
        st.markdown(
            f"**Bars**: {plain(meta.metric)}, %, on the validation set after the last epoch, of fine-tunes of one term "
            f"and the classification head on {meta.n_train:,} examples ({seeds} seed{'s' * (seeds > 1)} each), with a "
            "learning rate of their own. **Score**: projection ratio of a fine-tune of all biases, mean over layers."
            + "".join(
                f" The {name_in_text(term)} is null in this model: it stays frozen, and its bar is what the head does "
                "alone."
                for term in null
            )
            + f" {latex(case.named)} is {TERMS[case.named].where}."
        )
        explain.computed(case.probe, [PAPER])
