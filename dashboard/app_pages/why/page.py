"""Page Why b_v and not b_k: three live proofs on a model and a sentence of one's own, and the trap of training b_k."""

from __future__ import annotations

import streamlit as st

from dashboard.app_pages.why.proof import proof
from dashboard.app_pages.why.setup import setup
from dashboard.app_pages.why.trap import trap
from dashboard.shared import page

DARK = page.dark()
TABS = {"1 · Push b_k": "k", "2 · Push b_q": "q", "3 · Push b_v": "v"}
TRAP = "4 · The trap"

page.begin(
    "why",
    "The three candidates sit side by side in every attention layer, yet they can do very different things. Push each "
    "of them by the same random vector $d$ and see what moves in a real model: first predict, then look.",
)
wanted = setup()
*pushes, last = st.tabs([*TABS, TRAP], key="why_tab", bind="query-params")
for tab, term in zip(pushes, TABS.values(), strict=True):
    if tab.open and wanted is not None:
        with tab:
            proof(term, wanted, DARK)
if last.open:
    with last:
        trap(DARK)
