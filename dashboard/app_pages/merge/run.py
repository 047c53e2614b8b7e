"""Scoring a merge in the background: launching it, watching it, finding it again.

Which evaluation is looked at stands in the URL (``?merge_run=ID``); everything else is read from the run's folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

import streamlit as st

from beft_core.errors import UserError
from beft_core.execution.cancel import cancel
from beft_core.execution.start import launch, resume
from beft_core.merging.config import MergeConfig
from beft_core.merging.methods import METHODS
from beft_core.merging.plan import plan, tasks_of
from beft_core.runs.kinds import KINDS
from beft_core.runs.overview import overview
from beft_core.runs.run import Run, find_run, list_runs
from beft_core.runs.status import Status
from beft_core.tasks.registry import TASKS
from beft_core.tasks.sources.presence import presence
from dashboard.app_pages.merge.choice import Choice
from dashboard.app_pages.merge.method import Merge
from dashboard.run_watch import stopped
from dashboard.run_watch.card import TICK_SECONDS, duration
from dashboard.shared import address, page
from dashboard.shared.text import plain

RUN = "merge_run"
LIMIT, POINTS, EARLIER = "merge_examples", "merge_points", "merge_earlier"
PROBLEM = "merge_problem"
LIMITS: dict[str, int | None] = {"100": 100, "200": 200, "500": 500, "all": None}
LINES: dict[str, int] = {"no line": 0, "5 points": 5, "11 points": 11, "21 points": 21}
MOST_EARLIER = 20


def watched() -> Run | None:
    """The evaluation of the URL."""
    if RUN not in st.query_params:
        return None
    try:
        run = find_run(st.query_params[RUN])
        if run.kind.link == RUN:
            return run
    except UserError:
        pass
    address.put(RUN, None)  # gone, or a run of another kind
    return None


def config_of(run: Run) -> MergeConfig | None:
    """What a run was told; None where its folder is damaged."""
    try:
        return MergeConfig.from_dict(run.config()[1])
    except UserError:
        return None


# --- launching -----------------------------------------------------------------------------------------------------


def launcher(choice: Choice, made: Merge) -> None:
    """How much to score, how many evaluations that is, and the button."""
    with page.control("settings", "merge-launch", horizontal=True, gap="large"):
        limit = st.segmented_control(
            "Validation examples of each task",
            list(LIMITS),
            default="200",
            required=True,
            key=LIMIT,
            bind="query-params",
            help="Drawn once, the same for every row. More are slower and more certain.",
        )
        points = st.segmented_control(
            "Line along the method's parameter",
            list(LINES),
            default="11 points",
            required=True,
            key=POINTS,
            bind="query-params",
            help="The merge at so many values of its first parameter, the others as they are.",
        )
    config = MergeConfig.of(
        choice.snapshots,
        choice.titles,
        method=made.method.name,
        settings=made.settings,
        terms=choice.terms,
        points=LINES[points],
        limit=LIMITS[limit],
    )
    here, missing = _data(choice)
    work = plan(choice.snapshots, config)
    count = len(work.values) * len(here)
    for task, why in missing.items():
        st.caption(f":material/database_off: **{plain(task)}** will be left out: {why}")
    run = watched()
    busy = run is not None and run.status().active
    why_not = page.locked() or ("One evaluation at a time: cancel the one at work first." if busy else None)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Evaluate on all their tasks",
            key="merge-evaluate",
            type="primary",
            icon=":material/play_arrow:",
            on_click=_launch,
            args=(config, choice),
            disabled=why_not is not None or not here,
            help=why_not or "Runs in the background on this machine; closing this tab does not stop it.",
        )
        st.caption(_estimate(count, len(work.values), len(here), config))
        _earlier(choice)


def _estimate(count: int, merges: int, tasks: int, config: MergeConfig) -> str:
    if not tasks:
        return "None of their tasks can be scored on this machine."
    most = "all" if config.limit is None else f"up to {config.limit}"
    text = f"About **{count} evaluations** of {most} examples: {merges} sets of biases × {tasks} task"
    text += "s" if tasks > 1 else ""
    if config.points and config.method == "fisher":
        text += ". A Fisher average has no parameter, and so no line"
    return text + "."


def _data(choice: Choice) -> tuple[list[str], dict[str, str]]:
    """Tasks that can be scored, and those whose data is known not to be here, with what to do."""
    known, left_out = tasks_of(choice.snapshots)
    here = []
    for task in known:
        place = presence(TASKS[task])
        if not place.here:
            left_out[task] = f"its data is not here: {plain(place.advice, 200)}"
        if place.here or not place.damaged:
            here.append(task)  # the run finds out whether the Hub answers
    return here, left_out


def _launch(config: MergeConfig, choice: Choice) -> None:
    _do(lambda: launch("merge", config, snapshots=dict(zip(config.files, choice.snapshots, strict=True))))


def _do(action: Callable[[], Run]) -> None:
    """Start something unless the page is locked, and watch it; what goes wrong is told on the page."""
    st.session_state.pop(PROBLEM, None)
    try:
        if (why_not := page.locked()) is not None:  # a button may be pressed that was drawn before
            raise UserError(why_not)
        address.put(RUN, action().id)
    except UserError as error:
        st.session_state[PROBLEM] = plain(error, 900)


# --- finding evaluations again -------------------------------------------------------------------------------------


def _earlier(choice: Choice) -> None:
    """Evaluations of the same fine-tunes, newest first."""
    current = watched()
    found: dict[str, str] = {}
    wanted = list(choice.contents)
    for run in list_runs():
        try:
            kind, fields = run.config()
        except UserError:
            continue
        if (
            KINDS[kind].link == RUN
            and fields.get("sources") == wanted
            and run.recorded().state == "done"
            and run != current
        ):
            config = config_of(run)
            if config is not None:
                found[f"{title(config)} · {_when(run)}"] = run.id
        if len(found) == MOST_EARLIER:
            break
    if found:
        st.selectbox(
            "Earlier evaluations of these",
            list(found),
            index=None,
            key=EARLIER,
            on_change=_show_earlier,
            args=(found,),
            placeholder=f"Earlier evaluations of these ({len(found)})",
            label_visibility="collapsed",
            width=360,
        )


def title(config: MergeConfig) -> str:
    """A merge in a few words."""
    settings = METHODS[config.method].settings(config.settings, len(config.files))
    words = [METHODS[config.method].label]
    for name, value in settings.items():
        numbers = [
            f"{v:g}" if isinstance(v, float) else str(v) for v in (value if isinstance(value, list) else [value])
        ]
        words.append(f"{name} {' : '.join(numbers)}")
    return ", ".join(words)


def _when(run: Run) -> str:
    return datetime.fromtimestamp(run.recorded().created).strftime("%d %b %H:%M:%S")


def _show_earlier(found: dict[str, str]) -> None:
    chosen = st.session_state.get(EARLIER)
    if chosen in found:
        address.put(RUN, found[chosen])
    st.session_state[EARLIER] = None


# --- watching ------------------------------------------------------------------------------------------------------


def card() -> Run | None:
    """The evaluation that is looked at, while it is at work or where it went wrong; returned once it is done."""
    with st.container():  # always there, so that what follows keeps its place
        if st.session_state.get(PROBLEM):
            st.error(st.session_state[PROBLEM], title="The evaluation could not be started", icon=":material/error:")
        run = watched()
        if run is None:
            return None
        status = run.status()
        if status.active:
            _live(run)
        elif status.state != "done":
            _stopped(run, status)
    return run if status.state == "done" else None


@address.fragment(run_every=TICK_SECONDS)
def _live(run: Run) -> None:
    status = run.status()
    if not status.active:
        st.rerun()
    if status.state == "cancelling" and not page.read_only():
        cancel(run)  # does the next step when it is time
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"Evaluating **{plain(overview(run).name, 200)}** · {_headline(status)}")
            why_not = page.locked()
            st.button(
                "Cancel",
                key=f"merge-cancel-{run.id}",
                icon=":material/stop:",
                on_click=_cancel,
                args=(run,),
                disabled=status.state == "cancelling" or why_not is not None,
                help=why_not or "Stops at once; what was scored is kept and can be gone on from.",
            )
        st.progress(status.fraction or 0.0, text=_progress(status))
        for text in _messages(run)[-3:]:
            st.caption(plain(text))


def _headline(status: Status) -> str:
    if status.state == "cancelling":
        return ":orange[cancelling]"
    if status.state == "queued":
        return f"waiting for {status.position} before it" if status.position else "starting"
    return f":green[running] for {duration(max(0.0, time.time() - (status.began or status.created)))}"


def _progress(status: Status) -> str:
    text = plain(status.stage or "preparing")
    if status.total:
        text += f": {status.done} of {status.total} examples"
    left = status.remaining_seconds(time.time())
    return text + (f", about {duration(left)} left" if left is not None and status.stage == "evaluate" else "")


def _messages(run: Run) -> list[str]:
    """What it said; each tick reads only the bytes that are new."""
    key = f"merge-messages-{run.id}"
    known, offset = st.session_state.get(key, ([], 0))
    new, offset = run.read_metrics(offset)
    known = [*known, *(record["text"] for record in new if record.get("type") == "message")]
    st.session_state[key] = known, offset
    return known


def _stopped(run: Run, status: Status) -> None:
    stopped.tell(run, status)
    why_not = page.locked()
    with st.container(horizontal=True):
        st.button(
            "Go on with it",
            icon=":material/restart_alt:",
            on_click=_resume,
            args=(run,),
            disabled=why_not is not None,
            help=why_not or "What was scored before is not scored again.",
        )
        st.button("Dismiss", key="merge-dismiss", on_click=dismiss)


def dismiss() -> None:
    """Look at no evaluation."""
    address.put(RUN, None)
    st.session_state.pop(PROBLEM, None)


def _cancel(run: Run) -> None:
    try:
        if page.locked() is None:
            cancel(run)
    except UserError as error:
        st.session_state[PROBLEM] = plain(error, 900)


def _resume(run: Run) -> None:
    def go_on() -> Run:
        resume(run)
        return run

    _do(go_on)
