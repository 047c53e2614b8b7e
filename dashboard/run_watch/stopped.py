"""What is told of a run that did not come to its end: which run, why, what to do, and what its log said last."""

from __future__ import annotations

import streamlit as st

from beft_core.runs.overview import overview
from beft_core.runs.run import Run
from beft_core.runs.status import Status
from dashboard.shared.text import plain

HOW: dict[str, str] = {"cancelled": "was cancelled", "failed": "failed", "lost": "lost its worker"}
"""State in which a run stopped -> words that follow its name."""


def title(run: Run, status: Status) -> str:
    """Name of the run and how it stopped, for Markdown."""
    return f"{plain(overview(run).name, 200)} {HOW[status.state]}"


def tell(run: Run, status: Status, more: str = "") -> None:
    """A box with its name, the reason and what to do (and `more`); below it the log, unless somebody cancelled it."""
    box = st.info if status.state == "cancelled" else st.error
    told = [plain(part, 900) for part in (status.message, status.proposal) if part]
    box(" ".join([*told, more]).strip(), title=title(run, status))
    if status.state != "cancelled" and (lines := run.log_tail()):
        with st.expander("Last lines of its log", icon=":material/article:"):
            st.code("\n".join(lines), language=None, wrap_lines=True)
