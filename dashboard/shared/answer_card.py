"""Card with the answer of one approach: the term it selects, the ranking, and the switch between its variants."""

from __future__ import annotations

import streamlit as st

from beft_core.scores.approaches import APPROACHES, Question, of_probes, questions
from dashboard.content.answers import contest, heading, noise
from dashboard.content.samples import Opened
from dashboard.figures.parts.style import CONFIG
from dashboard.figures.ranking import ranking
from dashboard.shared.figure import for_the_room


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
    term = opened.selected(stack).get(key)
    st.markdown(f"#### {heading(opened, key, stack)}")
    st.caption(f"{question.words} {contest(opened, key, stack)}")
    for sentence in noise(opened, key, stack):
        st.markdown(f":yellow[⚠ {sentence}]")
    if not opened.scores.contestants(key, stack):
        return
    st.plotly_chart(
        for_the_room(ranking(opened.scores, key, term, stack, dark)),
        theme=None,
        key=f"ranking-{question.key}",
        config=CONFIG,
        alt=f"Ranking of the bias terms by {APPROACHES[key].label}",
    )
