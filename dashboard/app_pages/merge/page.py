"""Page Merge: fine-tunes of several tasks added up into one set of biases, compared first and scored after."""

from __future__ import annotations

import streamlit as st

from dashboard.app_pages.merge import evaluation
from dashboard.app_pages.merge.angles import angles
from dashboard.app_pages.merge.choice import choose
from dashboard.app_pages.merge.explain import explained
from dashboard.app_pages.merge.method import method
from dashboard.app_pages.merge.results import results
from dashboard.run_watch import card
from dashboard.shared import page

DARK = page.dark()

page.begin(
    "merge",
    "Two tasks tuned the same biases from the same start. Add their changes up, and one model serves both: here one "
    "sees how far the tasks agree, mixes them, and scores what is left of each.",
)
choice = choose()
made = None
if choice is not None:
    angles(choice, DARK)
    made = method(choice, DARK)
if choice is not None and made is not None:
    st.subheader("What is the merge worth?", anchor=False)
    evaluation.launcher(choice, made)
with st.container():  # always there, so that what follows keeps its place
    run = card.draw(evaluation.CARD)
result = results(run, choice, DARK) if run is not None else None
if choice is not None:
    explained(choice, made, result)
