"""One background run on the page: launching it, watching it, cancelling it, being told how it ended.

The page only reads the run's folder. Which run is watched stands in the URL (``?run=ID``), and a run that is at work
is found on disk anyway, so reloading the page, another tab or a restarted server show the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import streamlit as st

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.execution.cancel import cancel
from beft_core.execution.start import launch, resume, start_over
from beft_core.files.home import home
from beft_core.files.safe_io import parse_json
from beft_core.runs import about
from beft_core.runs.run import Run, find_run, list_runs
from beft_core.runs.status import Status
from beft_core.scores.approaches import APPROACHES, PAPER
from beft_core.terms import TERMS
from beft_core.training.estimate.count import quality
from dashboard.figures.parts.numbers import short
from dashboard.figures.parts.style import latex
from dashboard.run_watch import charts, stopped
from dashboard.shared import address, in_view, page, tour
from dashboard.shared.picker import CHOICE, OPEN_NEXT
from dashboard.shared.sources import run_title
from dashboard.shared.text import plain

DEMO = "BEFT_DEMO"
"""Environment variable: see :func:`demo_config`."""
RUN = "run"
"""Name of the watched run in the URL."""
PAGE = "fine_tune"
"""Page of the kinds that are watched here."""
SWITCH = "active_run"
TICK_SECONDS = 1.0
LAUNCH_ERROR = "launch_error"
START_OVER = "From the beginning; the checkpoint that cannot be used is put aside in the run's folder."
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


# --- launching -----------------------------------------------------------------------------------------------------


def demo_config() -> RunConfig:
    """The one-minute experiment. ``BEFT_DEMO`` may change fields of it as a JSON object (tests make it shorter).

    Raises:
        UserError: ``BEFT_DEMO`` is no such object, or one of its fields is none of a run.
    """
    fields: dict[str, Any] = {"task": "demo-sentiment", "n_train": 300}
    if text := os.environ.get(DEMO, "").strip():
        try:
            fields |= parse_json(text, "its value")
            return RunConfig.from_dict(fields)
        except UserError as error:
            raise UserError(
                f"{DEMO} in the environment: {error.got}", error.expected, error.try_ or f"unset {DEMO}"
            ) from None
    return RunConfig.from_dict(fields)


def launcher() -> None:
    """The button that starts the experiment; inactive while the watched run is at work."""
    run = watched()
    why_not = page.locked()
    st.button(
        "Run the one-minute experiment",
        key="launch",
        icon=":material/play_arrow:",
        type="primary",
        on_click=_begin_demo,
        disabled=why_not is not None or (run is not None and run.status().active),
        help=why_not
        or "Fine-tunes all biases of the bundled model on 300 generated sentences, on this machine, in "
        "the background, then scores every term. Closing this tab does not stop it.",
    )


def _begin_demo() -> None:
    try:
        config = demo_config()
    except UserError as error:
        could_not(error)
    else:
        begin("select", config)


def begin(kind: str, config: RunConfig, estimate: dict[str, Any] | None = None, name: str = "") -> Run | None:
    """Launch a run and watch it, from a callback; what goes wrong is told by the card.

    ``estimate``: the preflight's answer for this configuration; ``name``: what lists shall call it.
    """
    st.session_state.pop(LAUNCH_ERROR, None)
    try:
        if (why_not := page.locked()) is not None:  # a button may be pressed that was drawn before
            raise UserError(why_not)
        run = launch(kind, config)
    except UserError as error:
        could_not(error)
        return None
    in_view.call("The run was started.")
    address.put(RUN, run.id)
    tour.done("run")
    try:
        if name:
            about.rename(run, name[: about.NAME_CHARACTERS])
        if estimate is not None:
            about.set_estimate(run, estimate["seconds"], int(estimate["bytes"]))
    except UserError:
        pass  # the run is at work; what only describes it is not worth an error
    return run


def could_not(error: UserError) -> None:
    """The card tells why a run was not started."""
    st.session_state[LAUNCH_ERROR] = plain(error, 900)
    in_view.call("The run could not be started.")


# --- which run -----------------------------------------------------------------------------------------------------


def watched() -> Run | None:
    """The fine-tune of the URL, else the newest one at work. Merges and sweeps are watched on pages of their own."""
    try:
        run = find_run(st.query_params[RUN])
        if _is_fine_tune(run):
            return run
    except (KeyError, UserError):
        pass
    address.put(RUN, None)
    return next((run for run in list_runs() if run.status().active and _is_fine_tune(run)), None)


def _is_fine_tune(run: Run) -> bool:
    return run.kind.page == PAGE  # also of a damaged one: its card tells what is damaged


def at_work() -> list[Run]:
    """All runs at work or waiting, oldest first: each has a ticket in the queue of its device."""
    runs = []
    for ticket in (home() / "queue").glob("*/*"):
        try:
            run = find_run(ticket.name)
        except UserError:
            continue
        if run.status().active:
            runs.append(run)
    return sorted(runs)


# --- the card ------------------------------------------------------------------------------------------------------


def card(full: bool = False) -> None:
    """The watched run, if there is one; while it is at work it is read again every second.

    ``full``: with every curve, for the page where runs are the matter.
    """
    if problem := st.session_state.get(LAUNCH_ERROR):
        in_view.here()
        st.error(problem, title="The run could not be started", icon=":material/error:")
    run = watched()
    if run is None:
        return
    address.put(RUN, run.id)  # a reload finds it again, also when it has ended meanwhile
    if not problem:
        in_view.here()
    if run.status().active:
        _live(full)
    else:
        _ended(run, full)


@address.fragment(run_every=TICK_SECONDS)
def _live(full: bool) -> None:
    run = watched()
    status = run.status() if run is not None else None
    if run is None or status is None or not status.active:
        if run is not None and status is not None:
            if status.state == "done" and not full:
                st.session_state[OPEN_NEXT] = run_title(run)
            address.put(RUN, run.id)
        st.rerun()
    if status.state == "cancelling" and not page.read_only():
        cancel(run)  # does the next step when it is time
    _switch(run)
    records = _records(run)
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{plain(run_title(run))}** · {headline(status)}")
            why_not = page.locked()
            st.button(
                "Cancel",
                key=f"cancel-{run.id}",
                icon=":material/stop:",
                on_click=_cancel,
                args=(run,),
                disabled=status.state == "cancelling" or why_not is not None,
                help=why_not or "Stops after the current step; partial results stay.",
            )
        st.progress(status.fraction or 0.0, text=_progress_text(run, status))
        for record in [r for r in records if r["type"] == "message"][-2:]:
            st.caption(plain(record["text"]))
        if full:
            charts.everything(records, run.id, ended=False)
        else:
            charts.loss(records, run.id)


def _switch(run: Run) -> None:
    """Other fine-tunes at work, to be watched instead; nothing where there is only one."""
    runs = [one for one in at_work() if _is_fine_tune(one)]
    if len(runs) < 2:
        return
    titles = {run_title(one): one.id for one in runs}
    st.session_state[SWITCH] = run_title(run)
    st.segmented_control(
        "Runs at work, in the order in which they were started",
        list(titles),
        key=SWITCH,
        required=True,
        on_change=lambda: address.put(RUN, titles.get(st.session_state[SWITCH], run.id)),
    )


def _cancel(run: Run) -> None:
    st.session_state.pop(LAUNCH_ERROR, None)
    try:
        if page.locked() is None:
            cancel(run)
    except UserError as error:
        st.session_state[LAUNCH_ERROR] = plain(error, 900)


def _records(run: Run) -> list[dict]:
    """All measurements; each tick reads only the bytes that are new."""
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
    """Its state in words: cancelling, its place in the queue, or for how long it has been running."""
    if status.state == "cancelling":
        return ":orange[cancelling]"
    if status.state == "queued":
        ahead = status.position or 0
        if not ahead:
            return "starting"
        place = ORDINALS[ahead] if ahead < len(ORDINALS) else f"number {ahead + 1}"
        return f"{place} in the queue of {plain(status.device or 'its device')}"
    return f":green[running] for {duration(max(0.0, time.time() - (status.began or status.created)))}"


def _progress_text(run: Run, status: Status) -> str:
    if not status.stage:
        return "preparing"
    text = plain(status.stage)
    if status.total:
        text += f": {status.done} of {status.total}"
    now = time.time()
    in_stage, whole = status.remaining_seconds(now), _remaining(run, status, now)
    if whole is not None:
        return text + f", about {duration(whole)} to the end"
    return text + (f", about {duration(in_stage)} left in this stage" if in_stage is not None else "")


def _remaining(run: Run, status: Status, now: float) -> float | None:
    """Seconds to the end of the whole run: training is its last long stage; before it the estimate counts."""
    if status.stage == "train":
        return status.remaining_seconds(now)
    estimate = about.about(run).estimate
    if estimate is None or status.began is None:
        return None
    left = estimate["seconds"] - (now - status.began)
    return left if left > 0 else None


def duration(seconds: float) -> str:
    """Seconds in words: 41 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


# --- the end -------------------------------------------------------------------------------------------------------


def _ended(run: Run, full: bool) -> None:
    status = run.status()
    if status.state == "done":
        _done(run, status, full)
    else:
        _stopped(run, status, full)


def _done(run: Run, status: Status, full: bool) -> None:
    seconds = max(0.0, (status.ended or 0) - (status.began or 0))
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(
                f":material/check_circle: **{plain(run_title(run))}** is done after {duration(seconds)}."
                f"{_estimated(run, seconds)}"
            )
            if full or st.session_state.get(CHOICE) != run_title(run):
                st.button("Show it", icon=":material/visibility:", on_click=_show, args=(run, full))
            st.button("Dismiss", key="dismiss", on_click=_dismiss)
        if full:
            records = _records(run)
            for line in _results(run, records):
                st.markdown(line)
            charts.everything(records, run.id, ended=True)


def _estimated(run: Run, seconds: float) -> str:
    estimate = about.about(run).estimate
    if estimate is None:
        return ""
    expected = estimate["seconds"]
    return f" Estimated {duration(expected)}, took {duration(seconds)}: {quality(expected, seconds)}."


def _results(run: Run, records: list[dict]) -> list[str]:
    """What came out, in a few lines of Markdown."""
    lines = []
    last: dict[str, Any] = next((record for record in reversed(records) if record["type"] == "epoch"), {})
    values = [
        f"{plain(name)} **{value:.3f}**"
        for name, value in last.items()
        if name not in ("type", "seconds", "run", "epoch", "step") and isinstance(value, float | int)
    ]
    if values:
        lines.append(f"After epoch {last.get('epoch')}: " + ", ".join(values).replace("train\\_loss", "training loss"))
    try:
        selected = run.read_result().get("selected")
    except UserError:  # none, or a damaged one
        selected = None
    if selected:
        chosen = [
            f"{APPROACHES[key].label} selects **{latex(term)}**"
            for key, term in selected.items()
            if key in APPROACHES and term in TERMS
        ]
        lines.append(" · ".join(chosen))
    scores: dict[str, dict[str, float]] = next(
        (record["scores"] for record in reversed(records) if record["type"] == "scores"), {}
    )
    turned = {t: s[PAPER] for t, s in scores.items() if t in TERMS and PAPER in s}
    if turned:
        order = sorted(turned, key=lambda term: -turned[term])
        lines.append("Projection ratio: " + ", ".join(f"{latex(term)} {short(turned[term])}" for term in order))
    return lines


def _stopped(run: Run, status: Status, full: bool) -> None:
    stopped.tell(run, status)
    with st.container(horizontal=True):
        if run.snapshot.is_file():
            st.button("Show what it had", icon=":material/visibility:", on_click=_show, args=(run, full))
        if run.checkpoint.is_file():
            why_not = page.locked()
            label, action = ("Start over", start_over) if status.start_over else ("Resume from its checkpoint", resume)
            st.button(
                label,
                icon=":material/restart_alt:",
                on_click=_resume,
                args=(run, action),
                disabled=why_not is not None,
                help=why_not or (START_OVER if status.start_over else None),
            )
        st.button("Dismiss", key="dismiss", on_click=_dismiss)
    if full:
        charts.everything(_records(run), run.id, ended=True)


def _resume(run: Run, action: Callable[[Run], None]) -> None:
    st.session_state.pop(LAUNCH_ERROR, None)
    try:
        if (why_not := page.locked()) is not None:
            raise UserError(why_not)
        action(run)
    except UserError as error:
        could_not(error)
    else:
        address.put(RUN, run.id)


def _show(run: Run, elsewhere: bool) -> None:
    st.session_state[OPEN_NEXT] = run_title(run)
    _dismiss()
    if elsewhere:
        st.switch_page(page.file_of("importance"), query_params=page.kept())


def _dismiss() -> None:
    address.put(RUN, None)
    st.session_state.pop(LAUNCH_ERROR, None)
