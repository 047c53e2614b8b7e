"""One background run on the page: launching it, watching it, cancelling it, being told how it ended.

The page only reads the run's folder. Which run is watched stands in the URL (``?run=ID``), and a run that is at work
is found on disk anyway, so reloading the page, another tab or a restarted server show the same.
"""

from __future__ import annotations

import json
import os
import time

import streamlit as st

from beft_core.errors import UserError
from beft_core.runs.cancel import cancel
from beft_core.runs.directory import Run, Status, find_run, list_runs
from beft_core.runs.launch import launch, resume
from beft_core.training.config import RunConfig
from dashboard.components.picker import CHOICE, OPEN_NEXT
from dashboard.components.sources import run_title
from dashboard.components.text import plain
from dashboard.figures.progress import loss_curve

RUN = "run"
"""Name of the watched run in the URL."""
TICK_SECONDS = 1.0
LAUNCH_ERROR = "launch_error"


def demo_config() -> RunConfig:
    """The one-minute experiment. ``BEFT_DEMO`` may change fields of it as JSON (tests make it shorter)."""
    fields = {"task": "demo-sentiment", "n_train": 300, **json.loads(os.environ.get("BEFT_DEMO", "{}"))}
    return RunConfig.from_dict(fields)


def launcher() -> None:
    """The button that starts the experiment; inactive while the watched run is at work."""
    run = watched()
    st.button(
        "Run the one-minute experiment", key="launch", icon=":material/play_arrow:", type="primary", on_click=_launch,
        disabled=run is not None and run.status().active,
        help="Fine-tunes all biases of the bundled model on 300 generated sentences, on this machine, in the "
        "background, then scores every term. Closing this tab does not stop it.",
    )  # fmt: skip


def _launch() -> None:
    st.session_state.pop(LAUNCH_ERROR, None)
    try:
        st.query_params[RUN] = launch("select", demo_config()).id
    except UserError as error:
        st.session_state[LAUNCH_ERROR] = plain(error, 900)


def watched() -> Run | None:
    """The run of the URL, else the newest one at work."""
    try:
        return find_run(st.query_params[RUN])
    except (KeyError, UserError):
        st.query_params.pop(RUN, None)
    return next((run for run in list_runs() if run.status().active), None)


def card() -> None:
    """The watched run, if there is one; while it is at work it is read again every second."""
    if st.session_state.get(LAUNCH_ERROR):
        st.error(st.session_state[LAUNCH_ERROR], title="The run could not be started", icon=":material/error:")
    run = watched()
    if run is None:
        return
    if run.status().active:
        _live(run)
    else:
        _ended(run)


@st.fragment(run_every=TICK_SECONDS)
def _live(run: Run) -> None:
    status = run.status()
    if not status.active:
        if status.state == "done":
            st.session_state[OPEN_NEXT] = run_title(run)
        st.query_params[RUN] = run.id
        st.rerun()
    if status.state == "cancelling":
        cancel(run)  # does the next step when it is time
    records = _records(run)
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{plain(run_title(run))}** · {_headline(status)}")
            st.button(
                "Cancel", key=f"cancel-{run.id}", icon=":material/stop:", on_click=cancel, args=(run,),
                disabled=status.state == "cancelling", help="Stops after the current step; partial results stay.",
            )  # fmt: skip
        st.progress(status.fraction or 0.0, text=_progress_text(status))
        for record in [r for r in records if r["type"] == "message"][-2:]:
            st.caption(plain(record["text"]))
        if any(record["type"] == "step" for record in records):
            dark = st.context.theme.type == "dark"
            st.plotly_chart(
                loss_curve(records, dark), theme=None, key=f"loss-{run.id}", alt="Training loss over the steps so far",
                config={"displayModeBar": False},
            )  # fmt: skip


def _records(run: Run) -> list[dict]:
    """All measurements; each tick reads only the bytes that are new."""
    key = f"records-{run.id}"
    known, offset = st.session_state.get(key, ([], 0))
    new, offset = run.read_metrics(offset)
    known = [*known, *(record for record in new if "type" in record)]
    st.session_state[key] = known, offset
    return known


def _headline(status: Status) -> str:
    if status.state == "cancelling":
        return ":orange[cancelling]"
    if status.state == "queued":
        ahead = status.position or 0
        runs = "one run" if ahead == 1 else f"{ahead} runs"
        return f"waiting for {runs} ahead" if ahead else "starting"
    return f":green[running] for {_duration(time.time() - (status.began or status.created))}"


def _progress_text(status: Status) -> str:
    if not status.stage:
        return "preparing"
    text = plain(status.stage)
    if status.total:
        text += f": {status.done} of {status.total}"
    remaining = status.remaining_seconds(time.time())
    return text + (f", about {_duration(remaining)} left in this stage" if remaining is not None else "")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _ended(run: Run) -> None:
    status = run.status()
    if status.state == "done":
        took = _duration((status.ended or 0) - (status.began or 0))
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/check_circle: **{plain(run_title(run))}** is done after {took}.")
            if st.session_state.get(CHOICE) != run_title(run):
                st.button("Show it", icon=":material/visibility:", on_click=_show, args=(run,))
            st.button("Dismiss", key="dismiss", on_click=_dismiss)
        return
    told = " ".join(plain(part, 900) for part in (status.message, status.proposal) if part)
    title = {"cancelled": "The run was cancelled", "lost": "The worker is gone", "failed": "The run failed"}[
        status.state
    ]
    (st.info if status.state == "cancelled" else st.error)(told, title=title)
    if status.state != "cancelled" and (lines := run.log_tail()):
        with st.expander("Last lines of its log", icon=":material/article:"):
            st.code("\n".join(lines), language=None, wrap_lines=True)
    with st.container(horizontal=True):
        if run.snapshot.is_file():
            st.button("Show what it had", icon=":material/visibility:", on_click=_show, args=(run,))
        if run.checkpoint.is_file() and st.button("Resume from its checkpoint", icon=":material/restart_alt:"):
            try:
                resume(run)
            except UserError as error:
                st.error(plain(error, 900))
            else:
                st.session_state.pop(f"records-{run.id}", None)
                st.rerun()
        st.button("Dismiss", key="dismiss", on_click=_dismiss)


def _show(run: Run) -> None:
    st.session_state[OPEN_NEXT] = run_title(run)
    _dismiss()


def _dismiss() -> None:
    st.query_params.pop(RUN, None)
