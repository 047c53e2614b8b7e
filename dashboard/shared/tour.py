"""Tour of the dashboard: steps that complete when somebody does them, wherever that is; remembered in the URL."""

from __future__ import annotations

import time
from dataclasses import dataclass

import streamlit as st

from dashboard.shared import address

TOUR = "tour"
"""Name in the URL: keys of the completed steps, joined by dots."""
QUIET = 1.0
"""Seconds after the last move until the hand is said to rest."""
_MOVED = "tour-moved"
"""Key in the session of when something was moved last, by the monotonic clock."""


@dataclass(frozen=True)
class Step:
    """Step of the tour: something to do once."""

    key: str
    page: str
    """Key of its page in ``page.PLACES``."""
    ask: str
    learnt: str
    """Sentence on what it shows, for when it is done."""


STEPS: tuple[Step, ...] = (
    Step(
        "guess",
        "start",
        "Guess which bias wins, and look",
        "Trained alone, the value bias may be far ahead or level with the query bias; the score named it both times.",
    ),
    Step(
        "cell",
        "importance",
        "Click a cell of a heatmap",
        "Every layer's score is an angle and a length ratio; the cell is where they come from.",
    ),
    Step(
        "sandbox",
        "geometry",
        "Turn the tuned vector by hand",
        "The same Magnitude can belong to very different projection ratios.",
    ),
    Step(
        "proof",
        "why",
        "Push b_k and see nothing happen",
        "Softmax ignores what is the same for every key. A score that prefers b_k has measured noise.",
    ),
    Step("run", "fine_tune", "Start a fine-tune of your own", "It goes on when the tab is closed."),
    Step("merge", "merge", "Merge two tasks", "b_v of two tasks point in nearly right-angled directions."),
)


def completed() -> set[str]:
    """Collect the keys of the steps that are done, of the URL and of this tab: the navigation drops the URL."""
    known = {step.key for step in STEPS}
    return known & {*st.query_params.get(TOUR, "").split("."), *st.session_state.get(TOUR, ())}


def following() -> Step | None:
    """Find the step that comes next, the first that is not done; None once all of them are."""
    known = completed()
    return next((step for step in STEPS if step.key not in known), None)


def done(key: str, moving: bool = False) -> None:
    """Note that the learner did a step; call it where it happens, in a callback or in the script.

    ``moving``: while something is pushed or dragged. The server can only write the whole URL, as it was at the last
    step of the slider, over what the browser has written since; so it waits until the hand rests.
    """
    _remember(completed() | {key})
    if moving and not _is_written():
        st.session_state[_MOVED] = time.monotonic()
    else:
        _write()


def carry() -> None:
    """Take the progress along to the next page. Called once by app.py, before the page."""
    _remember(completed())
    if _moving():
        with st.sidebar:
            _look()
    else:
        _write()


def write_when_quiet() -> None:
    """Write the steps into the URL once the hand rests. For ends of fragments, which do not run :func:`carry`."""
    if not _is_written():
        _look()


@st.fragment(run_every=QUIET)
def _look() -> None:
    """Look again and again whether the hand rests."""
    if not _moving():
        _write()
        st.rerun()  # now without the clock


def _moving() -> bool:
    return time.monotonic() - st.session_state.get(_MOVED, -QUIET) < QUIET


def _remember(steps: set[str]) -> None:
    st.session_state[TOUR] = tuple(step.key for step in STEPS if step.key in steps)


def _is_written() -> bool:
    """Say whether the URL has all steps that are done."""
    steps = ".".join(st.session_state[TOUR])
    return not steps or st.query_params.get(TOUR) == steps


def _write() -> None:
    if not _is_written():
        address.put(TOUR, ".".join(st.session_state[TOUR]))
