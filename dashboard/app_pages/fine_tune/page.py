"""Page Fine-tune: set a run up, check what it takes, start it, watch it."""

from __future__ import annotations

import streamlit as st

from dashboard.app_pages.fine_tune import check, setup
from dashboard.run_watch import card, charts, fine_tunes
from dashboard.shared import page

# Halves stand below each other where the page is too narrow. Not inside the live fragment: a style that a fragment
# writes replaces those of the page.
NARROWEST = {setup.HALVES: "24rem", charts.HALVES: "20rem"}

page.begin(
    "fine_tune",
    "Choose what is trained: bias terms, an adapter such as LoRA, or every weight. See how many values that is and "
    "what it takes, start it, and watch loss, metric and scores grow. It goes on when this tab is closed.",
)
st.html(
    "<style>"
    + "".join(
        f".st-key-{key} > div > .stHorizontalBlock > .stColumn {{ min-width: {width}; }}"
        for key, width in NARROWEST.items()
    )
    + "</style>"
)
opened = card.is_opened(fine_tunes.FULL)
with st.container():  # always there, so that what follows keeps its place when a run comes or goes
    if opened:
        card.draw(fine_tunes.FULL)
page.need_training()
with page.control("settings", "ft-setup"):
    setup.draw()
check.panel(setup.current())
if not opened:
    card.draw(fine_tunes.FULL)
