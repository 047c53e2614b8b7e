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
PLANE, MIX, ALONG, ANGLES = "The plane", "Mix and score", "Along the parameter", "Do the tasks agree?"
PART = "merge_part"  # key of the tabs, and its name in the URL; a comment, because a page shows bare strings

page.begin("merge", SENTENCE)
top = st.container()  # the answer, above the choice that it is of
choice = choose()
with top:
    run = card.finished(evaluation.CARD)
    shown = found(run, choice)
    if shown is not None:
        answer(shown, choice)
own = shown.result if shown is not None and shown.is_of(choice) else None
made = None
if choice is not None:
    # All of them are drawn, whichever is open: a merge depends on the controls of one and is shown in another.
    in_plane, in_mix, in_along, in_angles = st.tabs([PLANE, MIX, ALONG, ANGLES], key=PART, bind="query-params")
    with in_plane:
        place = plane(choice, with_plane(own, choice))
    with in_mix:
        made = method(choice, DARK)
        if made is not None:
            evaluation.launcher(choice, made, place)
    with in_along:
        along(shown, DARK)
    with in_angles:
        angles(choice, DARK)
card.draw(evaluation.CARD)
if choice is not None:
    explained(choice, made, own)
