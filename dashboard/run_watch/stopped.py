"""Report of a run that did not come to its end: which run, why, what to do, what its log said last; and the
button that starts it again."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from beft_core.execution.start import resume, start_over
from beft_core.runs.overview import overview
from beft_core.runs.run import Run
from beft_core.runs.status import Status
from dashboard.shared import page
from dashboard.shared.text import plain

HOW: dict[str, str] = {"cancelled": "was cancelled", "failed": "failed", "lost": "lost its worker"}
"""Words that follow the name of a run, by the state in which it stopped."""
START_OVER = "From the beginning; the checkpoint that cannot be used is put aside in the run's folder."
FINISHED_STAYS = "What is finished is not done again."


def title(run: Run, status: Status) -> str:
    """Write the name of a run and how it stopped, for Markdown."""
    return f"{plain(overview(run).name, 200)} {HOW[status.state]}"


def report(run: Run, status: Status, more: str = "") -> None:
    """Draw a box with its name, the reason and what to do (and `more`); below it the log, unless it was cancelled."""
    box = st.info if status.state == "cancelled" else st.error
    reasons = [plain(part, 900) for part in (status.message, status.proposal) if part]
    box(" ".join([*reasons, more]).strip(), title=title(run, status))
    if status.state != "cancelled" and (lines := run.log_tail()):
        with st.expander("Last lines of its log", icon=":material/article:"):
            st.code("\n".join(lines), language=None, wrap_lines=True)


def again(run: Run, status: Status, label: str = "") -> tuple[str, Callable[[Run], None], str | None]:
    """Choose how to start a run again: (label of the button, what it does, help). `label`: of kinds that only go on."""
    if status.start_over:
        return "Start over", start_over, START_OVER
    if label or run.has_folder_of_parts():
        return label or "Resume", resume, FINISHED_STAYS
    return ("Resume from its checkpoint" if run.checkpoint.is_file() else "Start it again"), resume, None


def again_button(run: Run, status: Status, start: Callable[[Callable[[Run], None]], None], label: str = "") -> None:
    """Draw the button that starts it again; `start` is called with what :func:`again` says."""
    label, action, words = again(run, status, label)
    why_not = page.cannot_train()
    st.button(
        label,
        key=f"again-{run.id}",
        icon=":material/restart_alt:",
        on_click=start,
        args=(action,),
        disabled=why_not is not None,
        help=why_not or words,
    )
