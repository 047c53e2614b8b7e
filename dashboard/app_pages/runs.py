"""All runs of the machine: their state, and any number of them beside each other."""

from __future__ import annotations

import streamlit as st

from beft_core.runs.overview import overviews
from dashboard.components import page, run_actions, run_compare, run_table
from dashboard.components.cell import kept

page.begin(
    "runs",
    "Every fine-tune that was started on this machine, newest first. Tick some to see their curves, results and "
    "settings side by side.",
)
run_actions.problem()
run_actions.undo()
runs = overviews()
if not runs:
    with st.container(border=True):
        st.markdown(
            "**No run yet.** A fine-tune of bias terms takes about a minute on a laptop; it appears here at once, goes "
            "on when you close this tab, and stays until you delete it."
        )
        st.page_link(page.file_of("fine_tune"), label="Start a fine-tune", icon=":material/tune:", query_params=kept())
    run_actions.trash()
    st.stop()

run_table.filters(runs)
above = st.container()
chosen = run_table.chosen(runs)  # first, because the table shows what stands in the URL
with above:
    run_table.table(any(one.status.active for one in runs))

if chosen:
    run_actions.bar(chosen, runs)
    for one in [one for one in chosen if one.damage][:5]:
        run_actions.damaged(one)
    for one in [one for one in chosen if one.status.state in ("cancelled", "failed", "lost")][:5]:
        run_actions.story(one)
    run_compare.curves(chosen)
    run_compare.results(chosen)
    if len(chosen) > 1:
        run_compare.settings(chosen)
        run_compare.seeds(chosen)
    run_compare.explained()
with st.container(horizontal=True):
    run_actions.download(run_table.passing(runs), "listed", "Download all listed runs")
run_actions.trash()
