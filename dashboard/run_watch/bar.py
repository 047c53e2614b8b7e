"""Status bar of the run at work: one line over the lower edge of every page. Nothing moves when it comes or goes.

It says which run is at work, how far it is and what is left, ends it, and leads to its card. When the run has ended it
says how, until it is dismissed or shown.
"""

from __future__ import annotations

import time
from html import escape

import streamlit as st

from beft_core.errors import UserError
from beft_core.execution.cancel import cancel
from beft_core.runs import about
from beft_core.runs.overview import overview
from beft_core.runs.run import Run, find_run
from beft_core.runs.status import Status
from dashboard.run_watch import card
from dashboard.run_watch.stopped import HOW
from dashboard.shared import address, in_view, page

PLACE, BAR = "run-bar-place", "run-bar"
"""Keys of what page.css puts at the edge of the window, and of the bar in it. What is around a fragment comes before
what the fragment draws: in the flow of the page it moved the page by its gap."""
_SHOWN, _PROBLEM, _OPEN = "run-bar-shown", "run-bar-problem", "run-bar-open"
"""Session state: id of the run that the bar shows; why it could not be cancelled; whether its card was asked for."""
NAME_CHARACTERS = 80
WORDS = {"done": "is done", **HOW}
"""Words that follow the name of a run that has ended, by its state."""


def draw(here: str) -> None:
    """Draw the bar, if a run is at work or one that this tab saw at work has ended. Called before the page.

    ``here``: name of the page in the URL.
    """
    with st.container(key=PLACE):  # always there, so that what follows keeps its place
        if card.at_work():
            _live(here)
        elif st.session_state.get(_SHOWN) is not None:
            _over(here)


@address.fragment(run_every=card.TICK_SECONDS)
def _live(here: str) -> None:
    runs = card.at_work()
    _go_if_asked()
    if not runs:
        st.rerun()  # now without the clock
    states = {run: run.status() for run in runs}
    run = next((one for one, status in states.items() if status.state != "queued"), runs[0])
    status = states[run]
    st.session_state[_SHOWN] = run.id
    if status.state == "cancelling" and not page.read_only():
        cancel(run)  # does the next step when it is time
    more = f" (and {len(runs) - 1} more)" if len(runs) > 1 else ""
    with _container():
        st.html(line(_name(run) + more, status.fraction or 0.0, progress(run, status, time.time())))
        _show(here, run)
        why_not = page.locked()
        st.button(
            "Cancel",
            key="run-bar-cancel",
            icon=":material/stop:",
            type="tertiary",
            on_click=_cancel,
            args=(run,),
            disabled=status.state == "cancelling" or why_not is not None,
            help=why_not,
        )


@address.fragment()
def _over(here: str) -> None:
    _go_if_asked()
    run = _shown()
    if run is None:
        return
    status = run.status()
    seconds = max(0.0, (status.ended or 0) - (status.began or status.ended or 0))
    took = f", {card.duration(seconds)}" if status.state == "done" else ""
    with _container():
        st.html(line(f"{_name(run)} {WORDS.get(status.state, status.state)}{took}", None, ""))
        _show(here, run)
        st.button("Dismiss", key="run-bar-dismiss", icon=":material/close:", type="tertiary", on_click=_forget)


def _container() -> st.delta_generator.DeltaGenerator:
    return st.container(key=BAR, horizontal=True, vertical_alignment="center", gap="small")


# --- what it says --------------------------------------------------------------------------------------------------


def line(name: str, fraction: float | None, words: str) -> str:
    """Write the HTML of the bar: a name, how far it is (between 0 and 1; None: no longer said), and words on it."""
    name, words = escape(name), escape(st.session_state.get(_PROBLEM) or words)
    bar = "" if fraction is None else f'<progress aria-label="{name}" value="{fraction:.3f}"></progress>'
    return f'<div class="run-bar"><b title="{name}">{name}</b>{bar}<span>{words}</span></div>'


def progress(run: Run, status: Status, now: float) -> str:
    """Write the stage of a run at work, how much of it is done, and the seconds that are left, as far as known."""
    if status.state in ("queued", "cancelling"):
        return "waits for its device" if status.state == "queued" and status.position else status.state
    if not status.stage:
        return "preparing"
    share = status.stage[:40] + (f" {status.done:,} of {status.total:,}" if status.total else "")
    estimate, left = about.about(run).estimate, status.remaining_seconds(now)
    if estimate is not None and status.began is not None and (whole := estimate["seconds"] - (now - status.began)) > 0:
        return f"{share}, about {card.duration(whole)} left"
    return f"{share}, about {card.duration(left)} of it left" if left is not None else share


def _name(run: Run) -> str:
    return overview(run).name[:NAME_CHARACTERS]


# --- what its buttons do -------------------------------------------------------------------------------------------


def _show(here: str, run: Run) -> None:
    """Draw the way to the run's card: on this page it is scrolled to, on another page it is a link."""
    kind = run.kind
    if here == kind.page or st.query_params.get(kind.link) == run.id:
        st.button("Show", key="run-bar-show", icon=":material/visibility:", type="tertiary", on_click=_ask, args=(run,))
        return
    st.page_link(
        page.file_of(kind.page),
        label="Show",
        icon=":material/visibility:",
        query_params=page.kept(**{kind.link: run.id}),
    )


def _ask(run: Run) -> None:
    address.put(run.kind.link, run.id)
    in_view.call(f"Showing {_name(run)}")
    st.session_state[_OPEN] = True


def _go_if_asked() -> None:
    """Draw the whole page again where its card was asked for: a press in a fragment draws only the fragment."""
    if st.session_state.pop(_OPEN, False):
        st.rerun()


def _cancel(run: Run) -> None:
    st.session_state.pop(_PROBLEM, None)
    try:
        if page.locked() is None:
            cancel(run)
    except UserError as error:
        st.session_state[_PROBLEM] = str(error)[:300]


def _shown() -> Run | None:
    """Find the run that the bar showed last; None where it was forgotten, or its folder is gone."""
    known = st.session_state.get(_SHOWN)
    if known is None:
        return None
    try:
        return find_run(known)
    except UserError:
        _forget()
        return None


def _forget() -> None:
    for key in (_SHOWN, _PROBLEM):
        st.session_state.pop(key, None)
