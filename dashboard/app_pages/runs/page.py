"""Page Runs, all runs of the machine: their state, and any number of them beside each other."""

from __future__ import annotations

import streamlit as st

from beft_core.runs.overview import overviews
from dashboard.app_pages.runs import actions, compare, table
from dashboard.shared import page

page.begin(
    "runs",
    "Every fine-tune that was started on this machine, newest first. Tick some to see their curves, results and "
    "settings side by side.",
)
actions.problem()
actions.undo()
runs = overviews()
if not runs:
    with st.container(border=True):
        st.markdown(
            "**No run yet.** A fine-tune of bias terms takes about a minute on a laptop; it appears here at once, goes "
            "on when you close this tab, and stays until you delete it."
        )
        st.page_link(
            page.file_of("fine_tune"), label="Start a fine-tune", icon=":material/tune:", query_params=page.kept()
        )
    actions.trash()
    st.stop()

top = st.container()
table.filters(runs)
with top:  # answers first, and needs the filters
    table.answer(any(one.status.active for one in runs))
above = st.container()
chosen = table.chosen(runs)  # first, because the table shows what stands in the URL
with above:
    table.table(any(one.status.active for one in runs))

if chosen:
    actions.bar(chosen, runs)
    actions.notes(chosen)
    for one in [one for one in chosen if one.damage][:5]:
        actions.damaged(one)
    for one in [one for one in chosen if one.status.state in ("cancelled", "failed", "lost")][:5]:
        actions.story(one)
    compare.curves(chosen)
    compare.results(chosen)
    if len(chosen) > 1:
        compare.example_by_example(chosen)
        compare.settings(chosen)
        compare.seeds(chosen)
    compare.explained()
with st.container(horizontal=True):
    actions.download(table.passing(runs), "listed", "Download all listed runs")
actions.trash()
