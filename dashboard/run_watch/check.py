"""Check of a probe's selection: the button that trains b_q, b_k and b_v alone, and what came of it in words."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.execution.start import launch
from beft_core.runs.kinds import PROBE_COPY
from beft_core.runs.run import Run
from beft_core.scores.verdict import Verdict
from beft_core.snapshots.snapshot import read_snapshot
from dashboard.figures.parts.style import latex
from dashboard.shared import page
from dashboard.shared.text import plain

HELP = (
    "Trains b_q, b_k and b_v alone on the same task with the same settings, in one pass, and compares them with what "
    "the probe selected. It takes about as long as one more fine-tune."
)


def can_be_checked(run: Run) -> bool:
    """Say whether a run is a probe that came to its end and whose snapshot is there."""
    return bool(run.kind.check) and run.recorded().state == "done" and run.snapshot.is_file()


def button(run: Run, start: Callable[[], object], where: str = "card") -> None:
    """Draw the button that checks a probe's selection; ``start`` is called when it is pressed."""

    def press() -> None:
        start()

    why_not = page.cannot_train()
    st.button(
        "Was the score right?",
        key=f"check-{where}-{run.id}",
        icon=":material/fact_check:",
        on_click=press,
        disabled=why_not is not None,
        help=why_not or HELP,
    )


def launched(run: Run) -> Run:
    """Start the check of a probe, with its settings and a copy of its snapshot.

    Raises:
        UserError: the probe's files cannot be read, or the run cannot be started.
    """
    _, fields = run.config()
    return launch(
        run.kind.check, RunConfig.from_dict(dict(fields)), snapshots={PROBE_COPY: read_snapshot(run.snapshot)}
    )


def lines(run: Run) -> list[str]:
    """Write what a check found, in a few lines of Markdown; none for other runs."""
    try:
        recorded = run.read_result().get("verdict")
        if recorded is None:
            return []
        verdict = Verdict.from_dict(recorded)
    except UserError:  # none yet, or a damaged one
        return []
    right = {True: ":material/check: ", False: ":material/close: ", None: ""}[verdict.is_right()]
    sentence = verdict.sentence(latex).replace(verdict.metric, plain(verdict.metric))
    found = [f"#### {right}{sentence[0].upper()}{sentence[1:]}."]
    if others := verdict.others():
        found.append(f"Other scores: {plain(others)}.")
    caveat = verdict.caveat()
    found.append(f":small[{plain(caveat[0].upper() + caveat[1:], 600)}.]")
    return found
