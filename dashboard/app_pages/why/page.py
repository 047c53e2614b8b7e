"""Page Why b_v and not b_k: the same push on each of three biases of a real model, and the trap of training b_k."""

from __future__ import annotations

import streamlit as st

from dashboard.app_pages.why.pushes import pushes
from dashboard.app_pages.why.trap import trap
from dashboard.shared import page

DARK = page.dark()
PUSHES, TRAP = "Three pushes", "The trap"

page.begin("why", "Add the same random vector $d$ to each bias of one attention layer. What stays, and what moves?")
first, last = st.tabs([PUSHES, TRAP], key="why_tab", bind="query-params")
if first.open:
    with first:
        pushes(DARK)
if last.open:
    with last:
        trap(DARK)
