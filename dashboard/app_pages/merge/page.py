"""Page Merge: fine-tunes of several tasks added up into one set of biases, compared first and scored after."""

from __future__ import annotations

import streamlit as st

from dashboard.app_pages.merge import evaluation
from dashboard.app_pages.merge.angles import angles
from dashboard.app_pages.merge.choice import choose
from dashboard.app_pages.merge.explain import explained
from dashboard.app_pages.merge.method import method
from dashboard.app_pages.merge.plane import plane
from dashboard.app_pages.merge.plane_scene import SENTENCE
from dashboard.app_pages.merge.results import along, answer, found, with_plane
from dashboard.run_watch import card
from dashboard.shared import page

DARK = page.dark()

page.begin("merge", SENTENCE)
top = st.container()  # the answer, above the choice that it is of
choice = choose()
with top:
    run = card.draw(evaluation.CARD)
    shown = found(run, choice)
    if shown is not None:
        answer(shown, choice)
        along(shown, DARK)
own = shown.result if shown is not None and shown.is_of(choice) else None
made = None
if choice is not None:
    place = plane(choice, with_plane(own, choice))
    angles(choice, DARK)
    made = method(choice, DARK)
    if made is not None:
        st.subheader("What is the merge worth?", anchor=False)
        evaluation.launcher(choice, made, place)
    explained(choice, made, own)
