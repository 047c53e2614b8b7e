"""Page Which bias matters: the terms of one snapshot by three approaches, answer first, evidence below."""

from __future__ import annotations

import streamlit as st

from beft_core.scores.approaches import APPROACHES, questions
from dashboard.app_pages.importance.cell import cell_card, cell_maps, choose
from dashboard.figures.bumps import bumps
from dashboard.figures.parts.style import latex
from dashboard.run_watch import card, fine_tunes
from dashboard.shared import explain, page
from dashboard.shared.answer_card import answer_card
from dashboard.shared.figure import show
from dashboard.shared.picker import pick
from dashboard.shared.regimes import over_data_sizes
from dashboard.shared.sources import Opened
from dashboard.shared.text import plain

DARK = page.dark()
THIS, RANKING, SIZES = "This snapshot", "Ranking by approach", "Over data sizes"


def this_snapshot(opened: Opened, stack: str) -> None:
    """Draw the tab about the chosen snapshot."""
    scores, asked = opened.scores, questions()
    grid = st.grid(len(asked), min_column_width=270, border=True)
    approaches = []
    for question in asked:
        with grid.cell():
            approaches.append(answer_card(opened, question, stack, DARK))
    if marks := explain.bars(opened, approaches, stack):
        st.caption(marks)
    caveat = explain.no_contest(opened)
    if caveat:
        st.info(caveat, icon=":material/info:")

    st.subheader("Where in the model", anchor=False)
    st.caption("Click a cell: the two vectors that its scores come from are drawn below.")
    maps = st.container()  # above the lists that say which cell is marked
    with st.container(border=True):
        at = choose(opened, stack)
        cell_card(opened, stack, at, approaches, DARK)
    with maps:
        cell_maps(opened, stack, approaches, at, lambda: scores.per_layer, DARK)
    for note in scores.notes:
        st.caption(f":material/flag: {plain(note)}")
    with page.control("details", "snapshot"):
        explain.computed(opened, approaches)


def ranking_by_approach(opened: Opened, stack: str) -> None:
    """Draw the ranking of the terms from one approach to the next."""
    scores = opened.scores
    st.markdown(
        "Each line is a bias term, each column an approach, the highest score on top. Strong lines are the three terms "
        f"that can be selected{explain.star(opened, scores.approaches, stack)}. Where lines cross, approaches disagree."
    )
    show(
        bumps(scores, scores.approaches, opened.selected(stack), stack, DARK),
        "bumps",
        "Rank of every bias term by each approach",
        data=lambda: scores.means,
    )
    caveat = explain.no_contest(opened)
    if caveat:
        st.info(caveat, icon=":material/info:")
    with page.control("details", "ranking"):
        explain.computed(opened, list(APPROACHES))


page.begin(
    "importance",
    "Each bias term of a model, before and after a fine-tune, scored in three ways: how far it turned, how far it "
    "moved, and how strongly the loss depended on it. The method then fine-tunes only the winner among "
    f"{latex('q')}, {latex('k')} and {latex('v')}.",
    title="Which bias matters?",
)
with st.container():  # always there, so that what follows keeps its place when a run comes or goes
    card.draw(fine_tunes.ASIDE)
chosen = pick(beside=fine_tunes.launcher)
if chosen is None:
    st.stop()
st.caption(explain.headline(chosen) + (f"  \n{plain(chosen.shows, 600)}" if chosen.shows else ""))
shown = chosen.scores.stacks[0]
if len(chosen.scores.stacks) > 1:
    shown = st.segmented_control(
        "Stack", chosen.scores.stacks, default=shown, required=True, key="stack", bind="query-params"
    )
tabs = dict(
    zip(
        (THIS, RANKING, SIZES),
        st.tabs([THIS, RANKING, SIZES], key="view", on_change="rerun", bind="query-params"),
        strict=True,
    )
)
with tabs[THIS]:
    if tabs[THIS].open:
        this_snapshot(chosen, shown)
with tabs[RANKING]:
    if tabs[RANKING].open:
        ranking_by_approach(chosen, shown)
with tabs[SIZES]:
    if tabs[SIZES].open:
        over_data_sizes(chosen, shown, DARK)
