"""Page Which bias matters: the terms of one snapshot by three approaches, answer first, evidence below."""

from __future__ import annotations

import streamlit as st

from beft_core.scores.approaches import APPROACHES, Question, of_probes, questions
from dashboard.app_pages.importance.cell import Cell, cell_box, cell_card, cell_map, cell_maps, choose
from dashboard.app_pages.importance.verdict import verdict
from dashboard.content.answers import heading
from dashboard.figures.bumps import bumps
from dashboard.figures.parts.style import name_in_text
from dashboard.run_watch import card, fine_tunes
from dashboard.shared import explain, page
from dashboard.shared.answer_card import answer_card, variants
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
    every = questions([*of_probes(), *scores.approaches])
    asked = list(every if page.stop() is not None else questions(of_probes()))
    others = {question: next(iter(variants(question).values())) for question in every if question not in asked}
    with page.stage("picture"):
        grid = st.grid(len(asked), min_column_width=250, border=True)
    approaches = []
    for question in asked:
        with grid.cell():
            approaches.append(answer_card(opened, question, stack, DARK))
    names = " · ".join(name_in_text(term) for term in scores.rows(stack))
    st.caption(f"{explain.bars(opened, approaches, stack)} {names}")
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
            cell_card(opened, stack, at, [*approaches, *others.values()], DARK)
    with maps:
        cell_maps(opened, stack, approaches, at, DARK)
        for question, key in others.items():
            further(opened, stack, question, key, at)
    for note in scores.notes:
        st.caption(f":material/flag: {plain(note)}")
    with page.control("details", "snapshot"):
        explain.computed(opened, [*approaches, *others.values()])


def further(opened: Opened, stack: str, question: Question, key: str, at: Cell) -> None:
    """Draw an approach that not every probe allows, in a box that opens on demand; its answer is on the box."""
    with st.expander(
        f"{heading(opened, key, stack)}. {question.words}",
        key=f"more_{question.key}",
        on_change="rerun",
        bind="query-params",
    ) as box:
        if not box.open:
            return
        grid = st.grid(2, min_column_width=270)
        with grid.cell():
            answer_card(opened, question, stack, DARK)
        with grid.cell():
            cell_map(opened, stack, key, at, DARK)


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
