"""The tour: steps that complete when somebody does them, wherever that is; remembered in the URL."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

TOUR = "tour"
"""Name in the URL: keys of the completed steps, joined by dots."""


@dataclass(frozen=True)
class Step:
    """Something to do once."""

    key: str
    page: str
    """A key of ``page.PLACES``."""
    ask: str
    learnt: str
    """What it shows; told once it is done."""


STEPS: tuple[Step, ...] = (
    Step("guess", "start", "Guess which bias wins, and look", "The value bias b_v turned furthest, by far."),
    Step(
        "cell", "importance", "Click a cell of a heatmap",
        "Every layer's score is an angle and a length ratio; the cell is where they come from.",
    ),
    Step(
        "sandbox", "geometry", "Turn the tuned vector by hand",
        "The same Magnitude can belong to very different projection ratios.",
    ),
    Step(
        "proof", "why", "Add something to b_k and see nothing happen",
        "Softmax ignores what is the same for every key. A score that prefers b_k has measured noise.",
    ),
    Step("run", "fine_tune", "Start a fine-tune of your own", "It goes on when the tab is closed."),
    Step("merge", "merge", "Merge two tasks", "b_v of two tasks point in nearly right-angled directions."),
)  # fmt: skip


def completed() -> set[str]:
    """Keys of the steps that are done: of the URL, and of this tab, since the navigation drops what is in the URL."""
    known = {step.key for step in STEPS}
    return known & {*st.query_params.get(TOUR, "").split("."), *st.session_state.get(TOUR, ())}


def done(key: str) -> None:
    """The learner did a step; call it where it happens, in a callback or in the script."""
    _remember(completed() | {key})


def carry() -> None:
    """Take the progress along to the next page. Called once by app.py, before the page."""
    _remember(completed())


def _remember(steps: set[str]) -> None:
    st.session_state[TOUR] = tuple(step.key for step in STEPS if step.key in steps)
    told = ".".join(st.session_state[TOUR])
    if told and st.query_params.get(TOUR) != told:
        st.query_params[TOUR] = told
