"""One sweep on the page: starting it, watching it, cancelling it, going on with it, finding it again.

Which one is looked at stands in the URL (``?sweep_run=ID``); one that is at work is found on disk anyway.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from math import prod

import streamlit as st

from beft_core.cli.command_line import sweep_command
from beft_core.errors import UserError
from beft_core.execution.cancel import cancel
from beft_core.execution.start import launch, resume, start_over
from beft_core.runs.overview import Overview, overview, overviews
from beft_core.runs.run import Run, find_run
from beft_core.runs.status import Status
from beft_core.sweeps.spec import SweepSpec
from dashboard.app_pages.sweep import results
from dashboard.app_pages.sweep import setup as sweep_setup
from dashboard.app_pages.sweep.setup import Setup
from dashboard.run_watch import stopped
from dashboard.run_watch.card import TICK_SECONDS, duration, headline
from dashboard.shared import address, in_view, page, tour
from dashboard.shared.text import plain

RUN = "sweep_run"
EARLIER = "sweep_earlier"
PROBLEM = "sweep_problem"
MOST_EARLIER = 50


# --- which one -----------------------------------------------------------------------------------------------------


def watched() -> Run | None:
    """The sweep of the URL, else the newest one at work."""
    if RUN in st.query_params:
        try:
            run = find_run(st.query_params[RUN])
            if run.kind.link == RUN:
                return run
        except UserError:
            pass
        address.put(RUN, None)  # gone, or a run of another kind
    return next((one.run for one in sweeps() if one.status.active), None)


def sweeps() -> list[Overview]:
    """All sweeps of this machine, newest first."""
    return [one for one in overviews() if one.row.link == RUN]


def _earlier() -> None:
    """The list of all sweeps, to look at another one."""
    current = watched()
    titles: dict[str, str] = {}
    for one in sweeps()[:MOST_EARLIER]:
        if one.run != current:
            when = datetime.fromtimestamp(one.status.created).strftime("%d %b %H:%M:%S")
            titles[f"{one.name} · {one.status.state} · {when}"] = one.id
    if titles:
        with page.control("choose", "sweep-earlier", width="content"):
            st.selectbox(
                "Other sweeps",
                list(titles),
                index=None,
                key=EARLIER,
                on_change=_show_earlier,
                args=(titles,),
                placeholder=f"Other sweeps of this machine ({len(titles)})",
                label_visibility="collapsed",
                width=340,
            )


def _show_earlier(titles: dict[str, str]) -> None:
    chosen = st.session_state.get(EARLIER)
    if chosen in titles:
        address.put(RUN, titles[chosen])
    st.session_state[EARLIER] = None


# --- starting ------------------------------------------------------------------------------------------------------


def panel(setup: Setup) -> None:
    """How much it is, the command that does the same, and the button."""
    with st.container(border=True):
        st.markdown("##### 3 · Start")
        if setup.problem is not None:
            st.warning(plain(setup.problem, 900), title="Not ready to start", icon=":material/edit:")
        _numbers(setup)
        why_not = page.locked()
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                "Start the sweep",
                key="sw_start",
                type="primary",
                icon=":material/play_arrow:",
                on_click=_start,
                disabled=setup.spec is None or why_not is not None,
                help=why_not or "In the background: it goes on when this tab is closed.",
            )
            _earlier()
        if setup.spec is not None:
            with page.control("details", "sw-command"):
                st.caption("The same from a terminal; started again, it does only what is missing:")
                st.code(sweep_command(setup.spec, _folder(setup.spec)), language="bash", wrap_lines=True)


def _numbers(setup: Setup) -> None:
    if setup.spec is None or setup.counted is None:
        return
    spec, counted = setup.spec, setup.counted
    passes = len(counted.banks)
    with st.container(horizontal=True, gap="medium"):
        st.metric(
            "Fine-tunes",
            f"{len(counted.runs):,}",
            _product(spec, len(counted.runs)),
            delta_color="off",
            delta_arrow="off",
            width="content",
        )
        if counted.steps is not None:
            st.metric(
                "Steps",
                f"{counted.steps:,}",
                "of single fine-tunes",
                delta_color="off",
                delta_arrow="off",
                width="content",
            )
        st.metric(
            "Passes over the model",
            f"about {passes:,}" if passes > 1 else "1",
            f"up to {max(counted.banks)} fine-tunes share one" if passes > 1 else "all fine-tunes share it",
            delta_color="off",
            delta_arrow="off",
            width="content",
            help="Fine-tunes of one task share a pass: each has its own biases, head, learning rate, seed and data. "
            "How many fit is seen from the memory that is free when the sweep starts.",
        )


def _product(spec: SweepSpec, count: int) -> str:
    """The grid as a product of what it has several of; empty where it is none, as with rates of the probe's own."""
    parts = {
        "tasks": len(spec.tasks),
        "sizes": max(1, len(spec.regimes) + len(spec.n_train)),
        "kinds": len(spec.terms),
        "learning rates": max(1, len(spec.lrs)),
        "seeds": len(spec.seeds),
    }
    if prod(parts.values()) != count:
        return "in the grid"
    return " × ".join(f"{number} {what}" for what, number in parts.items() if number > 1) or "alone"


def _folder(spec: SweepSpec) -> str:
    return "sweep-" + "-".join(spec.tasks)[:60]


def _start() -> None:
    setup = sweep_setup.current()
    if setup.spec is not None:
        spec = setup.spec
        _do(lambda: launch("sweep", spec))


def _do(action: Callable[[], Run]) -> None:
    """Start something unless the page is locked, and watch it; what goes wrong is told on the page."""
    st.session_state.pop(PROBLEM, None)
    try:
        if (why_not := page.locked()) is not None:  # a button may be pressed that was drawn before
            raise UserError(why_not)
        address.put(RUN, action().id)
    except UserError as error:
        st.session_state[PROBLEM] = plain(error, 900)
        in_view.call("The sweep could not be started.")
    else:
        in_view.call("The sweep was started.")
        tour.done("run")


# --- watching ------------------------------------------------------------------------------------------------------


def card() -> None:
    """The sweep that is looked at; while it is at work it is read again every second."""
    run = watched()
    if st.session_state.get(PROBLEM) or run is not None:
        in_view.here()
    if st.session_state.get(PROBLEM):
        st.error(st.session_state[PROBLEM], title="The sweep could not be started", icon=":material/error:")
    if run is None:
        return
    address.put(RUN, run.id)  # a reload finds it again, also when it has ended meanwhile
    status = run.status()
    if status.active:
        _live(run)
        return
    with st.container(border=True):
        if status.state == "done":
            _done(run, status)
        else:
            _stopped(run, status)
        results.show_results(run, ended=True)


@address.fragment(run_every=TICK_SECONDS)
def _live(run: Run) -> None:
    status = run.status()
    if not status.active:
        st.rerun()
    if status.state == "cancelling" and not page.read_only():
        cancel(run)  # does the next step when it is time
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{_title(run)}** · {headline(status)}")
            why_not = page.locked()
            st.button(
                "Cancel",
                key=f"sweep-cancel-{run.id}",
                icon=":material/stop:",
                on_click=_cancel,
                args=(run,),
                disabled=status.state == "cancelling" or why_not is not None,
                help=why_not or "Stops after the current step; what is finished is kept and can be gone on from.",
            )
        st.progress(status.fraction or 0.0, text=_progress(status))
        for text in _messages(run)[-2:]:
            st.caption(plain(text))
        results.show_results(run, ended=False)


def _title(run: Run) -> str:
    return plain(overview(run).name, 200)


def _progress(status: Status) -> str:
    text = plain(status.stage or "preparing")
    if status.total:
        text += f": {status.done:,} of {status.total:,} steps"
    left = status.remaining_seconds(time.time())
    return text + (f", about {duration(left)} left" if left is not None and status.stage == "train" else "")


def _messages(run: Run) -> list[str]:
    """What it said; each tick reads only the bytes that are new."""
    key = f"sweep-messages-{run.id}"
    known, offset = st.session_state.get(key, ([], 0))
    new, offset = run.read_metrics(offset)
    known = [*known, *(str(record.get("text")) for record in new if record.get("type") == "message")]
    st.session_state[key] = known, offset
    return known


def _cancel(run: Run) -> None:
    try:
        if page.locked() is None:
            cancel(run)
    except UserError as error:
        st.session_state[PROBLEM] = plain(error, 900)


# --- the end -------------------------------------------------------------------------------------------------------


def _done(run: Run, status: Status) -> None:
    one = overview(run)
    seconds = max(0.0, (status.ended or 0) - (status.began or 0))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f":material/check_circle: **{_title(run)}** is done after {duration(seconds)}: {one.summary or 'nothing'}."
        )
        results.evaluation_link(run)
        st.button("Dismiss", key="sweep-dismiss", on_click=_dismiss)


def _stopped(run: Run, status: Status) -> None:
    stopped.tell(run, status, results.how_far(run))
    why_not = page.locked()
    with st.container(horizontal=True, vertical_alignment="center"):
        label, action = ("Start over", start_over) if status.start_over else ("Resume", resume)
        st.button(
            label,
            key=f"sweep-resume-{run.id}",
            icon=":material/restart_alt:",
            on_click=_resume,
            args=(run, action),
            disabled=why_not is not None,
            help=why_not or "What is finished is not done again.",
        )
        results.evaluation_link(run)
        st.button("Dismiss", key="sweep-dismiss", on_click=_dismiss)


def _dismiss() -> None:
    address.put(RUN, None)
    st.session_state.pop(PROBLEM, None)


def _resume(run: Run, action: Callable[[Run], None]) -> None:
    def go_on() -> Run:
        action(run)
        return run

    _do(go_on)
