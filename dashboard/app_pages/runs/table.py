"""Table of all runs: filtered, live, and with rows that stay ticked whatever comes or goes.

What is ticked stands in the URL by labels of runs. The table knows rows by number only, so its ticks are set from the
labels each time it is drawn, and read back through the labels that it was drawn with.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import streamlit as st

from beft_core.execution.cancel import cancel
from beft_core.runs.damage import FILES
from beft_core.runs.overview import Overview, overviews
from beft_core.runs.status import STATES, Status
from dashboard.app_pages.runs import groups
from dashboard.shared import address, page

if TYPE_CHECKING:
    import pandas as pd

CHOSEN = "runs"
"""Key of the list of ticked runs, and its name in the URL."""
METHOD = "method"
"""Key of the filter by method, and its name in the URL."""
_TABLE, _DRAWN, _TICKED = "runs-table", "runs-drawn", "runs-ticked"
BUSY_SECONDS, IDLE_SECONDS = 1.5, 5.0
STATE_COLOURS = {
    "queued": "gray",
    "running": "violet",
    "cancelling": "yellow",
    "done": "green",
    "cancelled": "gray",
    "failed": "red",
    "lost": "red",
    "damaged": "red",
}
DAMAGED = "damaged"
"""Word beside the state of a run whose files are not as a run writes them."""
ROWS_SHOWN = 10
_ROW_PIXELS = 35
SHOWN = ("run", "trains", "state", "now", "metric", "value", "started")
"""Columns that fit into 1400 pixels; others can be shown from the menu of the table."""
TABLE_PIXELS = 906
"""Width of all columns together: 1400 pixels less the sidebar, the page's margins and the boxes to tick."""
_PIXELS = {
    "run": 64,
    "trains": 258,
    "state": 90,
    "now": 176,
    "metric": 70,
    "value": 60,
    "started": 96,
    "seconds": 75,
    "tags": 92,
}
"""Least widths of the columns in pixels; what is left goes to the names of the runs, or to the outcomes where no run
has a name.
"""
_LEAST_OUTCOME = 96
"""Pixels of the outcomes where all runs have ended and none has more to say."""
_CHARACTER_PIXELS, _CELL_PIXELS = 6.1, 16
"""Pixels: mean width of a character, and margins of a cell."""


def filters(runs: Sequence[Overview]) -> None:
    """Draw the row of filters; they stand in the URL."""
    tasks = sorted({task for one in runs for task in one.tasks})
    methods = sorted({one.method for one in runs})
    tags = sorted({tag for one in runs for tag in one.about.tags})
    with page.control("choose", "runs-filter", horizontal=True, vertical_alignment="bottom"):
        st.text_input(
            "Search",
            key="find",
            bind="query-params",
            placeholder="name, term, setting…",
            icon=":material/search:",
            width=170,
        )
        for label, key, options in (
            ("State", "state", (*STATES, DAMAGED)),
            ("Method", METHOD, methods),
            ("Task", "on", tasks),
            ("Tag", "tag", tags),
        ):
            if options:
                st.multiselect(label, options, key=key, bind="query-params", placeholder="all", width=140)
        groups.choose()


def passing(runs: Sequence[Overview]) -> list[Overview]:
    """Find the runs that the filters let through. Words are looked for in names, tags, notes, ids and settings."""
    words = str(st.session_state.get("find") or "").lower().split()
    states, methods, tasks, tags = (set(st.session_state.get(key) or ()) for key in ("state", METHOD, "on", "tag"))
    return [
        one
        for one in runs
        if (not states or states & set(states_of(one)))
        and (not methods or one.method in methods)
        and (not tasks or tasks & set(one.tasks))
        and (not tags or tags & set(one.about.tags))
        and all(word in _text(one) for word in words)
    ]


def states_of(one: Overview) -> list[str]:
    """List the states of a run, "damaged" among them."""
    return [one.status.state, *([DAMAGED] if one.damage else [])]


def _text(one: Overview) -> str:
    settings = " ".join(f"{name}={value}" for name, value in one.config.items() if value is not None)
    written = f"{one.about.name} {' '.join(one.about.tags)} {one.about.note}"
    return f"{written} {one.label} {one.method} {one.id} {one.kind} {settings}".lower()


def chosen(runs: Sequence[Overview]) -> list[Overview]:
    """Draw the list of ticked runs; returns them in the order in which they were ticked."""
    by_label = {one.label: one for one in runs}
    if CHOSEN in st.session_state:  # without those that are gone
        st.session_state[CHOSEN] = [label for label in st.session_state[CHOSEN] if label in by_label]
    labels = st.multiselect(
        "Runs to compare",
        list(by_label),
        key=CHOSEN,
        bind="query-params",
        placeholder="Tick runs in the table, or choose them here",
        label_visibility="collapsed",
    )
    return [by_label[label] for label in labels]


def answer(busy: bool) -> None:
    """Draw the sentence on the runs that the filters let through; it follows the disk as the table does."""
    address.fragment(BUSY_SECONDS if busy else IDLE_SECONDS)(_answer)()


def _answer() -> None:
    groups.answer(passing(overviews()))


def table(busy: bool) -> None:
    """Draw the table. It looks at the disk again by itself: often while a run is at work, else now and then."""
    address.fragment(BUSY_SECONDS if busy else IDLE_SECONDS)(_table)(busy)


def _table(busy: bool) -> None:
    runs = overviews()
    for one in runs:
        if one.status.state == "cancelling" and not page.read_only():
            cancel(one.run)  # does the next step when it is time
    if st.session_state.pop(_TICKED, False) or any(one.status.active for one in runs) != busy:
        st.rerun()  # what is below the table changes too
    shown = passing(runs)
    if not shown:
        st.info("No run passes these filters.", icon=":material/filter_alt_off:")
        return
    groups.table(shown)
    ticked = set(st.session_state.get(CHOSEN, ()))
    rows = [row for row, one in enumerate(shown) if one.label in ticked]
    ticks: Any = {"selection": {"rows": rows, "columns": [], "cells": []}}
    if _rows() != rows:
        st.session_state[_TABLE] = ticks
    st.session_state[_DRAWN] = [one.label for one in shown]
    order = [*SHOWN, "tags"] if _tags(shown) else [*SHOWN]
    st.dataframe(
        frame(shown, time.time()),
        key=_TABLE,
        column_order=order,
        on_select=_tick,
        selection_mode="multi-row",
        hide_index=True,
        selection_default=ticks,  # what is set above is lost if the browser mounts it later
        column_config=_columns(shown),
        placeholder="",
        alt="Runs of this machine, newest first",
        height=(min(len(shown), ROWS_SHOWN) + 1) * _ROW_PIXELS + 3,
    )


def _rows() -> list[int]:
    state = st.session_state.get(_TABLE)
    return sorted(state["selection"]["rows"]) if state else []


def _tick() -> None:
    """Take over which rows were ticked. Ticked runs that the filters hide stay ticked."""
    drawn = st.session_state.get(_DRAWN, [])
    now = [drawn[row] for row in _rows() if row < len(drawn)]
    before = st.session_state.get(CHOSEN, [])
    kept = [label for label in before if label in now or label not in drawn]
    st.session_state[CHOSEN] = [*kept, *(label for label in now if label not in kept)]
    st.session_state[_TICKED] = True


def frame(runs: Sequence[Overview], now: float) -> pd.DataFrame:
    """Make the table's rows, one a run; ``now``: seconds since the epoch."""
    import pandas as pd

    room = widths(runs)["now"]
    return pd.DataFrame(
        {
            "run": [f"{one.id[-6:]} {one.about.name}".rstrip() for one in runs],
            "trains": [_trains(one) for one in runs],
            "method": [one.method for one in runs],
            "state": [_chips(one) for one in runs],
            "now": [_shortened(outcome(one, now), room) for one in runs],
            "seconds": pd.array([_round(one.seconds(now)) for one in runs], dtype="Float64"),
            "started": [datetime.fromtimestamp(one.status.began or one.status.created) for one in runs],
            "task": [one.task for one in runs],
            "tags": [list(one.about.tags) for one in runs],
            "metric": [one.metric or "" for one in runs],
            "value": pd.array([one.value for one in runs], dtype="Float64"),
            "id": [one.id for one in runs],
        }
    )


def widths(runs: Sequence[Overview]) -> dict[str, int]:
    """Compute column -> width in pixels; the columns that are shown fill the table at 1400 pixels."""
    order = [*SHOWN, "tags"] if _tags(runs) else [*SHOWN]
    least = _PIXELS | {"now": _outcome_pixels(runs)}
    left = TABLE_PIXELS - sum(least[name] for name in order)
    widest = "run" if any(one.about.name for one in runs) else "now"
    return least | {widest: least[widest] + left}


def _outcome_pixels(runs: Sequence[Overview]) -> int:
    """Compute the width that the outcomes need; while a run is at work all of it, so that no column moves."""
    if any(one.status.active for one in runs):
        return _PIXELS["now"]
    longest = max((len(outcome(one, 0.0)) for one in runs), default=0)
    return min(_PIXELS["now"], max(_LEAST_OUTCOME, int(longest * _CHARACTER_PIXELS) + _CELL_PIXELS + 1))


def _shortened(text: str, pixels: int) -> str:
    """Cut a text where its cell ends; of a ticked run the whole of it stands below the table."""
    most = int((pixels - _CELL_PIXELS) / _CHARACTER_PIXELS)
    return text if len(text) <= most else text[: most - 1].rstrip(" ,;:(“") + "…"


def _trains(one: Overview) -> str:
    """Write what a run trains, on what and with which seed, in a row's few words."""
    where = one.task if len(one.tasks) == 1 else f"{len(one.tasks)} tasks"
    before, after = f"{one.trains_briefly} on ", one.seed and f", {one.seed}"
    return before + _shortened(where, _PIXELS["trains"] - int(len(before + after) * _CHARACTER_PIXELS)) + after


def _chips(one: Overview) -> list[str]:
    """Write the state of a run; of one that has ended and is damaged, that instead."""
    return [DAMAGED] if one.damage and not one.status.active else [one.status.state]


def outcome(one: Overview, now: float) -> str:
    """Write what a run is doing, or what came of it besides its metric; ``now``: seconds since the epoch."""
    status = one.status
    if status.state == "queued":
        return f"{status.position} ahead" if status.position else "starting"
    if status.active:
        return _progress(status, now)
    if one.damage:
        return ", ".join(dict.fromkeys(next((name for name in FILES if name in text), text) for text in one.damage))
    if status.state == "cancelled":
        return _kept(one)
    if status.state == "lost":
        return "its worker is gone" + (f" ({status.stage})" if status.stage else "")
    if status.state != "done":
        return (status.message or "").split(". ")[0].rstrip(".")
    seconds = one.seconds(now)
    said = (one.summary, f"selects b_{one.selected}" if one.selected else "")
    return ", ".join(filter(None, said)) or ("" if seconds is None else f"took {seconds:,.0f} s")


def _kept(one: Overview) -> str:
    """Write what a cancelled run has left."""
    if one.has_snapshot:
        return "snapshot kept"
    return "can be resumed" if "resumed" in (one.status.proposal or "") else "no snapshot"


def _progress(status: Status, now: float) -> str:
    text = status.stage or "preparing"
    if status.fraction is not None:
        text += f" {status.fraction:.0%}"
    left = status.remaining_seconds(now)
    return text + (f", {left:.0f} s left" if left is not None else "")


def _round(seconds: float | None) -> float | None:
    """Round seconds so that a table of ended and live runs changes once a second at most."""
    return None if seconds is None else round(seconds, 1 if seconds < 10 else 0)


def _columns(runs: Sequence[Overview]) -> dict[str, Any]:
    column = st.column_config
    tags, wide = _tags(runs), widths(runs)
    return {
        "run": column.TextColumn("Run", pinned=True, width=wide["run"]),
        "trains": column.TextColumn("Trains", width=wide["trains"]),
        "method": column.TextColumn("Method", help="Kind of what is trained; of other runs what they are."),
        "state": column.MultiselectColumn(
            "State", options=list(STATE_COLOURS), color=list(STATE_COLOURS.values()), width=wide["state"]
        ),
        "now": column.TextColumn("Outcome", help="What a run is doing, or what came of it.", width=wide["now"]),
        "seconds": column.NumberColumn(
            "Seconds", format="%g", help="Without the wait in the queue.", width=wide["seconds"]
        ),
        "started": column.DatetimeColumn("Started", format="D MMM, HH:mm", width=wide["started"]),
        "tags": column.MultiselectColumn("Tags", options=tags, color="auto", width=wide["tags"]) if tags else None,
        "metric": column.TextColumn("Metric", width=wide["metric"]),
        "value": column.NumberColumn(
            "Result",
            format="%.3f",
            width=wide["value"],
            help="The first metric of the task on its validation set, after the last epoch that was scored.",
        ),
    }


def _tags(runs: Sequence[Overview]) -> list[str]:
    return sorted({tag for one in runs for tag in one.about.tags})
