"""Page Compare: snapshots of one's own beside the samples and the runs."""

from __future__ import annotations

import streamlit as st

from dashboard.app_pages.compare import parts
from dashboard.figures.compare import MAX_COMPARED
from dashboard.shared import page, uploads
from dashboard.shared.picker import COMPARE_CHOICE, add_to, pick_many

page.begin(
    "compare",
    "Several fine-tunes beside each other: which bias terms they moved, where two of them differ, whether they learnt "
    "the same, and whether they rank the terms alike.",
)
opened = pick_many(
    "Snapshots",
    COMPARE_CHOICE,
    default=parts.default,
    most=MAX_COMPARED,
    help="Bundled samples, finished runs of this machine, and what you upload; the first is A, the next B.",
)
with page.control("choose", "compare-mine"), st.expander("Your own files", icon=":material/folder_open:"):
    mine, models = st.tabs(["Your uploads", "From two models"])
    with mine:
        uploads.shelf_of_mine(COMPARE_CHOICE)
    with models:
        uploads.two_models(lambda titles: add_to(COMPARE_CHOICE, titles, MAX_COMPARED))
if not opened:
    st.info(
        "Choose two or more snapshots above, or open your own: snapshot files, PEFT adapters, or a model before and "
        "after its fine-tune.",
        icon=":material/arrow_upward:",
    )
    st.stop()

stack, approaches, approach = parts.choose_view(opened)
shown = parts.Compared(tuple(opened), stack, approaches, approach, page.dark())
parts.legend(shown)
if len(opened) == 1:
    st.info("This is one snapshot. Add another above to compare it with.", icon=":material/add:")
parts.overlay(shown)
if len(opened) > 1:
    two = parts.pair(shown)
    if two is not None:
        parts.apart(shown, two)
        parts.alike(shown, two)
        parts.agree(shown, two)
    parts.made(shown)
parts.export(shown)
parts.computed(shown)
