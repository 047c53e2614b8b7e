"""Tab of the scale: W_v and b_v against W_o, and queries against keys; no output changes."""

from __future__ import annotations

import streamlit as st

from beft_core.errors import UserError
from beft_core.scores.rewriting import Rewriting, Rewritten
from dashboard.app_pages.rewrite import parts
from dashboard.app_pages.rewrite.retrained import retrained
from dashboard.shared import page
from dashboard.shared.figure import offer_table
from dashboard.shared.sources import Opened

FACTOR = "scale"
"""Key of the slider, and its name in the URL."""
FACTORS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
FIRST = 10.0


def scale(opened: Opened) -> None:
    """Draw what a scale does to the scores, of the fine-tune as it was and of one that is trained again."""
    answer = st.container()  # above the slider that it depends on
    with page.control("settings", "scale"):
        factor = st.select_slider(
            "Factor of $W_v$, $b_v$ and of $W_k$, $b_k$; $W_o$ and $W_q$, $b_q$ are divided by it",
            FACTORS,
            FIRST,
            format_func=lambda value: f"×{value:g}",
            key=FACTOR,
            bind="query-params",
        )
    assert opened.source is not None
    try:
        snapshot = opened.source.read()
        result = Rewritten.of(snapshot, Rewriting(scale=float(factor)))
    except UserError as error:
        page.report(error, "This snapshot cannot be scaled")
        return
    with answer:
        parts.verdict(result)
        st.markdown(
            "$W_o\\,(W_v x + b_v)$ and $(W_q x + b_q)\\cdot(W_k x + b_k)$ do not change when one factor grows as the "
            "other shrinks (under rotary positions too, not where queries and keys are normalised). The fine-tuned "
            "model, written down this way, has the same ratio; Magnitude and Fisher read the scale."
        )
    parts.bars(result, "scale")
    with page.control("downloads", "scale"):
        offer_table("The numbers (CSV)", lambda: parts.table(result), "scale.csv", "scale-table")
    retrained(opened, float(factor))
    parts.without_a_probe(snapshot, result)
