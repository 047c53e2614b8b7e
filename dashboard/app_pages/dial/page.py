"""Page The dial: a fine-tune turned up, down and off, its metric moving with it, and whether the scores knew."""

from __future__ import annotations

import streamlit as st

from dashboard.app_pages.dial import evaluation, source
from dashboard.app_pages.dial.results import results
from dashboard.app_pages.dial.words import SENTENCE
from dashboard.run_watch import card
from dashboard.shared import explain, page
from dashboard.shared.picker import DIAL_CHOICE, pick

DARK = page.dark()

page.begin("dial", SENTENCE)
source.begin_with_a_dial()
chosen = pick(DIAL_CHOICE)
if chosen is not None:
    st.caption(explain.headline(chosen))
task = source.choose_task(chosen) if chosen is not None else None
with st.container():  # always there, so that what follows keeps its place
    run = card.finished(evaluation.CARD)
if chosen is not None and task is not None:
    found = source.find(chosen, task, run)
    if found is not None:
        results(found, DARK)
    evaluation.launcher(chosen, task, found)
card.draw(evaluation.CARD)
