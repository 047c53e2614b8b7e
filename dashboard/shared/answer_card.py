"""Card with the answer of one approach: the term it selects, the ranking, and the switch between its variants."""

from __future__ import annotations

import streamlit as st

from beft_core.scores.approaches import APPROACHES, Question, of_probes, questions
from beft_core.scores.no_selection import NoSelection, Why
from beft_core.scores.table import is_noise
from beft_core.terms import CANDIDATES
from dashboard.figures.parts.numbers import short
from dashboard.figures.parts.style import approach_forms, latex, tinted
from dashboard.figures.ranking import ranking
from dashboard.shared.figure import CONFIG
from dashboard.shared.sources import Opened


def variants(question: Question) -> dict[str, str]:
    """List the variants of a question: words on its switch -> key of the approach; the first is the paper's."""
    return {approach.variant or approach.label: approach.key for approach in questions()[question]}


def answer_card(opened: Opened, question: Question, stack: str, dark: bool) -> str:
    """Draw the card of a question; returns the approach that it shows."""
    answer = st.container()  # above the switch that it depends on
    key = _variant(question)
    with answer:
        _answer(opened, key, question, stack, dark)
    return key


def variant_switches() -> list[str]:
    """Draw the switches of all questions, for where there are no cards; returns the approach of each question."""
    return [_variant(question, labelled=True) for question in questions(of_probes())]


def _variant(question: Question, labelled: bool = False) -> str:
    """Draw the question's switch, the same by its key wherever it is drawn; return the approach that it names."""
    keys = variants(question)
    first = next(iter(keys))
    if len(keys) == 1:
        return keys[first]
    choice = st.segmented_control(
        question.key.capitalize(),
        keys,
        default=first,
        required=True,
        key=question.key,
        bind="query-params",
        help=question.help,
        label_visibility="visible" if labelled else "collapsed",
        width="content",
    )
    return keys.get(str(choice), keys[first])


def _answer(opened: Opened, key: str, question: Question, stack: str, dark: bool) -> None:
    label, sign = APPROACHES[key].label, approach_forms()[key].sign
    scores = opened.scores.mean_scores(key, stack)
    term = opened.selected(stack).get(key)
    rivals = opened.scores.contestants(key, stack)
    reason = opened.scores.no_selection(stack).get(key)
    if term is None:
        st.markdown(f"#### {sign} {label}")
        st.caption(f"{question.words} " + (_nobody(reason) if reason else "Not measured in this snapshot."))
    else:
        st.markdown(f"#### {sign} {label}: {tinted(term, latex(term))}")
        contest = sorted((t for t in scores if t in CANDIDATES), key=lambda t: (t != term, -scores[t]))
        st.caption(f"{question.words} " + ", ".join(f"{latex(t)} {short(scores[t])}" for t in contest))
    for row in opened.scores.rows(stack).values():
        if is_noise(row, key):
            said = f"{latex(row.term)} is null in this model: its score is rounding noise, and it cannot be selected."
            st.markdown(f":yellow[⚠ {said}]")
    if not rivals:
        return
    st.plotly_chart(
        ranking(opened.scores, key, term, stack, dark),
        theme=None,
        key=f"ranking-{question.key}",
        config=CONFIG,
        alt=f"Ranking of the bias terms by {label}",
    )


_NOBODY: dict[Why, str] = {
    "nobody": "None of {candidates} took part.",
    "alone": "No contest: of {candidates} only {terms} took part, so none is selected.",
    "from_zero": "No selection: undefined from zero. {terms} started at zero, which scores 1 wherever it ends.",
    "unmoved": "{terms} did not move, so none is selected.",
    "equal": "No selection: all equal. {terms} score the same.",
}
"""Reason why no term is selected -> sentence."""


def _nobody(reason: NoSelection) -> str:
    """Write why no term is selected, in a sentence."""
    terms, candidates = " and ".join(map(latex, reason.terms)), ", ".join(map(latex, CANDIDATES))
    return _NOBODY[reason.why].format(terms=terms, candidates=candidates)
