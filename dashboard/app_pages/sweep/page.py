"""Page Sweep: a grid of fine-tunes set up, started in the background, and watched as it fills its table."""

from __future__ import annotations

import streamlit as st

from dashboard.app_pages.sweep import run, setup
from dashboard.run_watch import card
from dashboard.shared import page

page.begin(
    "sweep",
    "Fine-tune every task, term, learning rate and seed of a grid, many of them in one pass over the frozen model, and "
    "see which bias is worth it. It runs in the background, also when this tab is closed.",
)
# The halves stand below each other where the page is too narrow. Not inside the live fragment: a style that a fragment
# writes replaces those of the page.
st.html(f"<style>.st-key-{setup.HALVES} > div > .stHorizontalBlock > .stColumn {{ min-width: 22rem; }}</style>")
opened = card.is_opened(run.CARD)
with st.container():  # always there, so that what follows keeps its place when a sweep comes or goes
    if opened:
        card.draw(run.CARD)
page.need_training()
with page.control("settings", "sw-setup"):
    setup.draw()
run.panel(setup.current())
if not opened:
    card.draw(run.CARD)
