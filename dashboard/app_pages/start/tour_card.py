"""Tour on the page Start: what to do next, and what was learnt from what is done."""

from __future__ import annotations

import streamlit as st

from dashboard.shared import page, tour


def tour_card() -> None:
    """Draw a button that opens the steps in order; the first open one is emphasised, each leads to its page."""
    done = tour.completed()
    following = tour.following()
    with st.popover(f"The tour: {len(done)} of {len(tour.STEPS)} steps", icon=":material/flag:"):
        st.progress(len(done) / len(tour.STEPS))
        for step in tour.STEPS:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                if step.key in done:
                    st.markdown(f":material/check_circle: Done: {step.ask}  \n:small[:gray[{step.learnt}]]")
                    continue
                icon = "arrow_forward" if step is following else "radio_button_unchecked"
                st.page_link(
                    page.file_of(step.page),
                    label=f"**{step.ask}**" if step is following else step.ask,
                    icon=f":material/{icon}:",
                    query_params=page.kept(),
                )
        if following is None:
            st.markdown(":material/celebration: All done. What you saw here, you can now ask of a model of your own.")
