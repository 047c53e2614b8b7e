"""Card of one background run: which one is watched, how far it is, ending it, how it ended, starting it again.

The page only reads the run's folder. Which run is watched stands in the URL, and a run that is at work is found on disk
anyway, so reloading the page, another tab or a restarted server show the same. What is special about a kind of runs
stands in its :class:`Card`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import streamlit as st

from beft_core.errors import UserError
from beft_core.execution.cancel import cancel
from beft_core.files.home import home
from beft_core.runs import about
from beft_core.runs.overview import overview
from beft_core.runs.run import Run, find_run, list_runs
from beft_core.runs.status import Status
from dashboard.run_watch import stopped
from dashboard.shared import address, in_view, page, tour
from dashboard.shared.text import plain
from dashboard.streamlit_private import current_run

TICK_SECONDS = 1.0
LIVE = "live-run"
"""Key of the container of a run at work; page.css does not fade it while it is read again."""
MESSAGES = 3
"""Number of messages of a run at work that are shown, the last ones."""
IN_BACKGROUND = "In the background: it goes on when this tab is closed."
"""Help of every button that starts a run."""
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")

Records = list[dict[str, Any]]
"""Measurements, as :meth:`beft_core.runs.run.Run.read_metrics` gives them."""


def overview_name(run: Run) -> str:
    """Name a run for Markdown: what people call it, else what it does."""
    return plain(overview(run).name, 200)


@dataclass(frozen=True)
class Card:
    """Parts that a card has of its own, for the kinds of runs whose row names its page."""

    page: str
    """Page of the kinds that are watched."""
    link: str
    """Name of the watched run in the URL."""
    what: str
    """Word for what is watched: "run"."""
    cancel_help: str
    """Sentence on what becomes of it when it is cancelled."""
    title: Callable[[Run], str] = overview_name
    """Function that names a run, for Markdown."""
    doing: str = ""
    """Words before the name of one at work."""
    units: str = ""
    """Words after the number of what its stages count."""
    last_stage: Callable[[Run], str] = lambda run: "train"
    """Function that names the stage whose end is that of the run; empty: none is."""
    again: str = ""
    """Label of the button that goes on with one that stopped; empty: what its checkpoint allows."""
    tour: str | None = None
    """Step of the tour that starting one completes."""
    adopts: bool = True
    """Whether the newest run at work is watched where the URL names none."""
    outcome: Callable[[Run, float], str] | None = None
    """Words on a run that is done, after the seconds that it took. None: the page itself shows
    what came of it."""
    retry: Callable[[Run], str] = lambda run: ""
    """Label of the button that starts one that is done again; empty: it has nothing more to try."""
    on_done: Callable[[Run], None] = lambda run: None
    """Function that is called once when a watched run comes to its end."""
    so_far: Callable[[Run], str] = lambda run: ""
    """Sentence on what a stopped run has, after the reason."""
    above: Callable[[Run], None] = lambda run: None
    """Function that draws above a run at work."""
    actions: Callable[[Run], None] = lambda run: None
    """Function that draws buttons and links of a run that has ended."""
    body: Callable[[Run, Records, bool], None] = lambda run, records, ended: None
    """Function that draws what a run measured, below all else; its last argument: whether the run has ended."""

    @property
    def begun(self) -> str:
        """Key in the session of the page on which the watched run was started or found at work, and its id."""
        return f"{self.link}_begun"

    @property
    def alive(self) -> str:
        """Key in the session of the id of the watched run, if it was started here or at work when it was drawn last."""
        return f"{self.link}_alive"

    @property
    def problem(self) -> str:
        """Key in the session of why a run could not be started."""
        return f"{self.link}_problem"


# --- which run -----------------------------------------------------------------------------------------------------


def watched(card: Card) -> Run | None:
    """Find the run of the URL, else the newest one at work where the card adopts it."""
    if card.link in st.query_params:
        try:
            run = find_run(st.query_params[card.link])
            if run.kind.page == card.page:
                return run
        except UserError:
            pass
        address.put(card.link, None)  # gone, or a run of another kind
    if not card.adopts:
        return None
    return next((run for run in list_runs() if run.status().active and run.kind.page == card.page), None)


def is_opened(card: Card) -> bool:
    """Say whether a link led to the run of the URL: its card is then what the page is about, and stands first.

    The card of a run that was started, or found at work, on the page itself stands below what started it, so that
    nothing moves away under the hand.
    """
    named = st.query_params.get(card.link)
    return named is not None and st.session_state.get(card.begun) != (_page(), named)


def _page() -> str:
    context = current_run()
    return context.page_script_hash if context is not None else ""


def finished(card: Card) -> Run | None:
    """Find the watched run if it is done, for pages that show what came of it; they are scrolled to here."""
    run = watched(card)
    if run is None or run.status().state != "done":
        return None
    if not st.session_state.get(card.problem):
        in_view.here()
    return run


def at_work() -> list[Run]:
    """List all runs at work or waiting, oldest first: each has a ticket in the queue of its device."""
    runs = []
    for ticket in (home() / "queue").glob("*/*"):
        try:
            run = find_run(ticket.name)
        except UserError:
            continue
        if run.status().active:
            runs.append(run)
    return sorted(runs)


def choose_other(card: Card, key: str, label: str, runs: Mapping[str, str]) -> None:
    """Draw a list of runs to watch instead of the one that is watched; nothing where there are none.

    ``key``: of the list in the session; ``label``: what it lists; ``runs``: words of each -> its id.
    """
    if runs:
        st.selectbox(
            label,
            list(runs),
            index=None,
            key=key,
            on_change=_watch_other,
            args=(card, key, runs),
            placeholder=f"{label} ({len(runs)})",
            label_visibility="collapsed",
            width=360,
        )


def _watch_other(card: Card, key: str, runs: Mapping[str, str]) -> None:
    chosen: str | None = st.session_state.get(key)
    if chosen is not None and chosen in runs:
        address.put(card.link, runs[chosen])
    st.session_state[key] = None  # the list shows what it is for again


# --- starting and ending -------------------------------------------------------------------------------------------


def begin(card: Card, action: Callable[[], Run]) -> Run | None:
    """Start a run from a callback unless the page is locked, and watch it; the card reports what goes wrong."""
    st.session_state.pop(card.problem, None)
    try:
        if (why_not := page.locked()) is not None:  # a button may be pressed that was drawn before
            raise UserError(why_not)
        run = action()
    except UserError as error:
        could_not(card, error)
        return None
    if st.query_params.get(card.link) != run.id:  # else it is gone on with where it stands
        st.session_state[card.begun] = (_page(), run.id)
    st.session_state[card.alive] = run.id  # it may end before it is drawn
    address.put(card.link, run.id)
    in_view.say(f"The {card.what} was started.")
    if card.tour is not None:
        tour.done(card.tour)
    return run


def could_not(card: Card, error: UserError) -> None:
    """Have the card report why a run was not started."""
    st.session_state[card.problem] = plain(error, 900)
    in_view.call(f"The {card.what} could not be started.")


def dismiss(card: Card) -> None:
    """Stop watching a run: its card goes."""
    address.put(card.link, None)
    st.session_state.pop(card.problem, None)


def _cancel(card: Card, run: Run) -> None:
    st.session_state.pop(card.problem, None)
    try:
        if page.locked() is None:
            cancel(run)
    except UserError as error:
        st.session_state[card.problem] = plain(error, 900)


def _again(card: Card, run: Run, action: Callable[[Run], None]) -> None:
    def go_on() -> Run:
        action(run)
        return run

    begin(card, go_on)


# --- drawing -------------------------------------------------------------------------------------------------------


def draw(card: Card) -> None:
    """Draw the watched run, if there is one; while it is at work it is read again every second."""
    problem = st.session_state.get(card.problem)
    run = watched(card)
    status = run.status() if run is not None else None
    told = status is not None and not (status.state == "done" and card.outcome is None)  # else :func:`finished` is
    if problem or told:
        in_view.here()
    if problem:
        st.error(problem, title=f"The {card.what} could not be started", icon=":material/error:")
    if run is None or status is None:
        return
    if card.link not in st.query_params:
        st.session_state[card.begun] = (_page(), run.id)
    address.put(card.link, run.id)  # a reload finds it again, also when it has ended meanwhile
    if status.active:
        st.session_state[card.alive] = run.id
        _live(card)
        return
    if _has_ended(card, run, status):
        st.rerun()
    _ended(card, run, status)


@address.fragment(run_every=TICK_SECONDS)
def _live(card: Card) -> None:
    run = watched(card)
    status = run.status() if run is not None else None
    if run is None or status is None or not status.active:
        if run is not None and status is not None:
            _has_ended(card, run, status)
            address.put(card.link, run.id)
        st.rerun()
    if status.state == "cancelling" and not page.read_only():
        cancel(run)  # does the next step when it is time
    card.above(run)
    known = records(run)
    with st.container(border=True, key=LIVE):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"{card.doing}**{card.title(run)}** · {headline(status)}")
            why_not = page.locked()
            st.button(
                "Cancel",
                key=f"cancel-{run.id}",
                icon=":material/stop:",
                on_click=_cancel,
                args=(card, run),
                disabled=status.state == "cancelling" or why_not is not None,
                help=why_not or card.cancel_help,
            )
        st.progress(status.fraction or 0.0, text=_progress(card, run, status))
        for record in [record for record in known if record["type"] == "message"][-MESSAGES:]:
            st.caption(plain(record["text"]))
        card.body(run, known, False)


def _has_ended(card: Card, run: Run, status: Status) -> bool:
    """Call ``on_done`` once where the run was seen at work and is done now; say whether that is so."""
    if status.state != "done" or st.session_state.get(card.alive) != run.id:
        return False
    del st.session_state[card.alive]
    card.on_done(run)
    return True


def _ended(card: Card, run: Run, status: Status) -> None:
    if status.state == "done" and card.outcome is None:
        return
    with st.container(border=True):
        if status.state == "done" and card.outcome is not None:
            seconds = max(0.0, (status.ended or 0) - (status.began or 0))
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(
                    f":material/check_circle: **{card.title(run)}** is done after {duration(seconds)}"
                    f"{card.outcome(run, seconds)}"
                )
                if label := card.retry(run):
                    stopped.again_button(run, status, lambda action: _again(card, run, action), label)
                _buttons(card, run)
        else:
            stopped.report(run, status, card.so_far(run))
            with st.container(horizontal=True, vertical_alignment="center"):
                stopped.again_button(run, status, lambda action: _again(card, run, action), card.again)
                _buttons(card, run)
        card.body(run, records(run), True)


def _buttons(card: Card, run: Run) -> None:
    card.actions(run)
    st.button("Dismiss", key=f"dismiss-{card.link}", on_click=dismiss, args=(card,))


def records(run: Run) -> Records:
    """Read all measurements of a run; each tick reads only the bytes that are new."""
    key = f"records-{run.id}"
    known, offset = st.session_state.get(key, ([], 0))
    while True:
        new, after = run.read_metrics(offset)
        known = [*known, *(record for record in new if "type" in record)]
        if after <= offset:
            break
        offset = after
    st.session_state[key] = known, offset
    return known


def headline(status: Status) -> str:
    """Write the state of a run for Markdown: cancelling, its place in the queue, or for how long it has been running.

    ``status.elsewhere`` names another machine, which is then said too.
    """
    where = f" on {plain(status.elsewhere)}" if status.elsewhere is not None else ""
    if status.state == "cancelling":
        return f":yellow[cancelling]{where}"
    if status.state == "queued":
        ahead = status.position or 0
        if not ahead:
            return f"starting{where}"
        place = ORDINALS[ahead] if ahead < len(ORDINALS) else f"number {ahead + 1}"
        return f"{place} in the queue of {plain(status.device or 'its device')}{where}"
    return f":green[running] for {duration(max(0.0, time.time() - (status.began or status.created)))}{where}"


def _progress(card: Card, run: Run, status: Status) -> str:
    if not status.stage:
        return "preparing"
    text = plain(status.stage)
    if status.total:
        text += f": {status.done:,} of {status.total:,}{card.units if status.stage == card.last_stage(run) else ''}"
    now = time.time()
    in_stage, whole = status.remaining_seconds(now), _remaining(card, run, status, now)
    if whole is not None:
        return text + f", about {duration(whole)} to the end"
    return text + (f", about {duration(in_stage)} left in this stage" if in_stage is not None else "")


def _remaining(card: Card, run: Run, status: Status, now: float) -> float | None:
    """Estimate the seconds to the end of the whole run: before its last long stage the estimate of the form counts."""
    if status.stage == card.last_stage(run):
        return status.remaining_seconds(now)
    estimate = about.about(run).estimate
    if estimate is None or status.began is None:
        return None
    left = estimate["seconds"] - (now - status.began)
    return left if left > 0 else None


def moment(seconds: float) -> str:
    """Write a time since the epoch as day and time of this machine."""
    return datetime.fromtimestamp(seconds).strftime("%d %b %H:%M:%S")


def duration(seconds: float) -> str:
    """Write seconds in words: 41 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
