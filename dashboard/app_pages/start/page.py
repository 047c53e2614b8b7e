"""Page Start: a guess, its answer, and where to go from there. Useful offline and without a click."""

from __future__ import annotations

import streamlit as st

from beft_core.errors import UserError
from dashboard.app_pages.start.answer import SENTENCE, TITLE
from dashboard.app_pages.start.cases import cases
from dashboard.app_pages.start.flow import flow
from dashboard.app_pages.start.question import question
from dashboard.app_pages.start.tour_card import tour_card
from dashboard.content.samples import samples
from dashboard.run_watch import fine_tunes
from dashboard.run_watch.machine_card import status_card
from dashboard.shared import page
from dashboard.shared.regimes import on_shelf
from dashboard.shared.sources import open_source
from dashboard.shared.text import plain

DARK = page.dark()


def ask() -> None:
    """Draw the question on the samples; what is wrong, if they do not answer it."""
    try:
        found = cases(samples(), on_shelf(), open_source)
    except UserError as error:
        st.warning(plain(error), title="The bundled samples are missing", icon=":material/inventory_2:")
        return
    if not found:
        st.info(
            "The question needs a probe and fine-tunes of each of the three biases alone, of one task. No sample here "
            "has them all.",
            title="These samples do not answer the question",
            icon=":material/inventory_2:",
        )
        return
    question(found, DARK)


def ways_on() -> None:
    """Draw a row with the tour, three ways to begin, each one click, and what this machine offers."""
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        tour_card()
        with page.control("choose", "launch", width="content"):
            fine_tunes.launcher(strong=False)
        for name, label, icon in (
            ("importance", "Which bias matters", "leaderboard"),
            ("compare", "Compare your snapshots", "upload_file"),
        ):
            st.page_link(
                page.file_of(name),
                label=label,
                icon=f":material/{icon}:",
                query_params=page.kept(),
                width="content",
            )
        with st.popover("This machine", icon=":material/memory:", type="tertiary"):
            status_card()


if st.session_state.get("launch") and fine_tunes.FULL.link in st.query_params:  # just started: go and watch, before
    # anything is drawn here that would rerun this page when the run ends at once
    st.switch_page(page.file_of("fine_tune"), query_params=page.kept(run=st.query_params[fine_tunes.FULL.link]))
page.begin(
    "start",
    SENTENCE,
    title=TITLE,
)
grid = st.grid(2, min_column_width=380, gap="medium")
for part, draw in (("picture", lambda: flow(DARK)), ("answer", ask)):
    with grid.cell(), page.stage(part):
        draw()
ways_on()
