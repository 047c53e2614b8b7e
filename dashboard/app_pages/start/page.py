"""Page Start: a guess, its answer, and where to go from there. Useful offline and without a click."""

from __future__ import annotations

import streamlit as st

from beft_core.errors import UserError
from beft_core.terms import CANDIDATES
from dashboard.app_pages.start.question import question
from dashboard.app_pages.start.tour_card import tour_card
from dashboard.figures.block import block
from dashboard.figures.parts.style import latex
from dashboard.run_watch import card, fine_tunes
from dashboard.run_watch.machine_card import status_card
from dashboard.shared import page
from dashboard.shared.figure import show
from dashboard.shared.sources import open_source, samples
from dashboard.shared.text import plain

DARK = page.dark()


def ask() -> None:
    """Draw the question on the first sample; what is wrong, if there is none."""
    try:
        first = next(iter(samples()), None)
        if first is None:
            raise UserError("the list of samples is empty", "at least one sample", "installing the lab again")
        opened = open_source(first)
    except UserError as error:
        st.warning(plain(error), title="The bundled samples are missing", icon=":material/inventory_2:")
        return
    question(opened, DARK)


def begin_here() -> None:
    """Draw three ways on, each one click."""
    with st.container():
        st.markdown("**Begin**")
        with page.control("choose", "launch"):
            fine_tunes.launcher()
        st.caption("All biases of the bundled model on 300 made-up sentences, here and now; then every term is scored.")
        st.page_link(
            page.file_of("importance"),
            label="Open the samples",
            icon=":material/leaderboard:",
            query_params=page.kept(),
        )
        st.caption("Real fine-tunes on SST-2, STS-B, MRPC, CoLA and RTE, ready to look into.")
        st.page_link(
            page.file_of("compare"),
            label="Upload your snapshots",
            icon=":material/upload_file:",
            query_params=page.kept(),
        )
        st.caption("From a cluster or a colleague: checked, then beside the samples and your runs.")


if st.session_state.get("launch") and fine_tunes.FULL.link in st.query_params:  # just started: go and watch, before
    # anything is drawn here that would rerun this page when the run ends at once
    st.switch_page(page.file_of("fine_tune"), query_params=page.kept(run=st.query_params[fine_tunes.FULL.link]))
page.begin(
    "start",
    "A transformer adds small learned vectors, its **biases**, at eight places of every layer. Bias-efficient "
    f"fine-tuning (BEFT) trains just one of three, {latex('q')}, {latex('k')} or {latex('v')}, and leaves the other "
    "weights as they are. Which one?",
    title="Which bias would you fine-tune?",
)
with st.container():  # always there, so that what follows keeps its place when a run comes or goes
    card.draw(fine_tunes.ASIDE)
show(block(CANDIDATES, DARK), "block", "Where the eight biases sit in a transformer layer", downloads=False)
ask()
st.space("small")
grid = st.grid(2, min_column_width=340, border=True)
for draw in (tour_card, begin_here):
    with grid.cell():
        draw()
status_card()
