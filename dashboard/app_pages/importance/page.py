"""Page Which bias matters: the terms of one snapshot by three approaches, answer first, evidence below."""

from __future__ import annotations

import streamlit as st

from beft_core.scores.approaches import APPROACHES, of_probes, questions
from dashboard.app_pages.importance.cell import cell_box, cell_card, cell_maps, choose
from dashboard.app_pages.importance.verdict import verdict
from dashboard.figures.bumps import bumps
from dashboard.run_watch import card, fine_tunes
from dashboard.shared import explain, page
from dashboard.shared.answer_card import answer_card
from dashboard.shared.figure import show
from dashboard.shared.picker import pick
from dashboard.shared.regimes import on_shelf, over_data_sizes
from dashboard.shared.sources import Opened
from dashboard.shared.text import plain
from dashboard.tour_mark import mark

DARK = page.dark()
THIS, RANKING, SIZES = "This snapshot", "Ranking by approach", "Over data sizes"


def this_snapshot(opened: Opened, stack: str) -> None:
    """Draw the tab about the chosen snapshot."""
    scores = opened.scores
    asked = questions([*of_probes(), *scores.approaches])
    with page.stage("picture"):
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

    with st.container(horizontal=True, vertical_alignment="center"):  # one line, done or not: no map moves at a click
        st.markdown("**Where in the model?** Click a cell: its two vectors are drawn below.", width="content")
        mark("cell")
    maps = st.container()  # above the lists that say which cell is marked
    with cell_box() as box:
        at = choose(opened, stack)
        if box.open:
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
    ranked = [key for key in scores.approaches if key in of_probes()]  # the others rank q, k and v alone
    st.markdown(
        "Each line is a bias term, each column an approach, the highest score on top. Strong lines are the three terms "
        f"that can be selected{explain.star(opened, ranked, stack)}. Where lines cross, approaches disagree."
    )
    show(
        bumps(scores, ranked, opened.selected(stack), stack, DARK),
        "bumps",
        "Rank of every bias term by each approach",
        data=lambda: scores.means,
    )
    caveat = explain.no_contest(opened)
    if caveat:
        st.info(caveat, icon=":material/info:")
    with page.control("details", "ranking"):
        explain.computed(opened, list(APPROACHES))


page.begin("importance", title="Which bias matters?")
answer = st.container()  # the first thing to read; what it says depends on the snapshot, which is chosen below
chosen = pick(beside=fine_tunes.launcher)
if chosen is None:
    card.draw(fine_tunes.ASIDE)
    st.stop()
shown = chosen.scores.stacks[0]
if len(chosen.scores.stacks) > 1:
    shown = st.segmented_control(
        "Stack", chosen.scores.stacks, default=shown, required=True, key="stack", bind="query-params"
    )
with answer, page.stage("answer"):
    st.markdown(verdict(chosen, shown, on_shelf()))
st.caption(explain.headline(chosen), help=plain(chosen.shows, 600) or None)
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
card.draw(fine_tunes.ASIDE)
