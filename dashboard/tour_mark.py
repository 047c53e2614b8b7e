"""Mark of the tour where a step is done: that it is done and what comes next, or that it is what comes next."""

from __future__ import annotations

import streamlit as st

from dashboard.shared import page, tour


def mark(key: str) -> None:
    """Draw the mark of a step, one line at the control that does it; nothing in presenter mode, or out of turn.

    Once the step is done the line leads to the next one. ``key``: of a step in ``tour.STEPS``.
    """
    with st.container():  # always there: what follows would be drawn anew, and the page be shorter for a moment
        if not page.presenting():
            _mark(key)


def _mark(key: str) -> None:
    done, following = tour.completed(), tour.following()
    at, step = next((at, step) for at, step in enumerate(tour.STEPS, 1) if step.key == key)
    here = f"Tour, step {at} of {len(tour.STEPS)}"
    if key in done and following is not None:
        st.page_link(
            page.file_of(following.page),
            label=f"{here}, is done. Next: {following.ask[:1].lower()}{following.ask[1:]}",
            icon=":material/check_circle:",
            query_params=page.kept(),
        )
    elif key in done:
        st.caption(f":material/check_circle: {here}, is done, and with it the tour.")
    elif step is following:
        st.caption(f":material/flag: {here}, is here: {step.ask[:1].lower()}{step.ask[1:]}.")
