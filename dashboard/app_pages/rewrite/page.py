"""Page What the score depends on: the same model written down differently, and what its scores make of that."""

from __future__ import annotations

import streamlit as st

from dashboard.app_pages.rewrite.retrained import CARD
from dashboard.app_pages.rewrite.scale import scale
from dashboard.app_pages.rewrite.shift import shift
from dashboard.run_watch import card
from dashboard.shared import explain, page
from dashboard.shared.picker import REWRITE_CHOICE, pick

SHIFT, SCALE = "Shift the values", "Scale the weights"

page.begin(
    "rewrite",
    "One model can be written down in many ways that compute exactly the same. A score that measures what was learnt "
    "should not care which. Rewrite a model and see which scores do.",
)
chosen = pick(REWRITE_CHOICE)
if chosen is None:
    card.draw(CARD)
    st.stop()
st.caption(explain.headline(chosen))
shifted, scaled = st.tabs([SHIFT, SCALE], key="rw", bind="query-params")
if shifted.open:
    with shifted:
        shift(chosen)
if scaled.open:
    with scaled:
        scale(chosen)
card.draw(CARD)
