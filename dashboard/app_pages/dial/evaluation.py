"""Measuring a dial in the background: launching it, watching it.

Which run is looked at stands in the URL (``?dial_run=ID``); everything else is read from the run's folder.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from beft_core.dials.config import SOURCE, DialConfig
from beft_core.dials.parts import LAMBDAS, turned
from beft_core.errors import UserError
from beft_core.execution.start import launch
from beft_core.inference.heads import prompt_of
from beft_core.methods import method_of
from beft_core.runs.tables import recorded_table
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.registry import TASKS
from beft_core.tasks.sources.presence import presence
from dashboard.app_pages.dial.source import KIND, RUN, Found, snapshot_of
from dashboard.own_tables.form import Table, TableForm
from dashboard.run_watch import card
from dashboard.shared import page
from dashboard.shared.sources import Opened
from dashboard.shared.text import plain

LIMIT = "dial_examples"
LIMITS: dict[str, int | None] = {"200": 200, "500": 500, "all": None}
CARD = card.Card(
    page="dial",
    link=RUN,
    what="dial",
    cancel_help="Stops at once; nothing of it is kept.",
    doing="Turning ",
    units=" readings of an example",
    last_stage=lambda run: "evaluate",
)
"""Card of a dial at work. What came of one that is done is shown by the page."""


def launcher(opened: Opened, task: str, found: Found | None) -> None:
    """Draw what would be measured and the button; small where there is a dial already."""
    if found is not None:
        with page.control("settings", "dial-again"), st.expander("Measure it again", icon=":material/play_arrow:"):
            _form(opened, task)
        return
    st.subheader("This one was not turned yet", anchor=False)
    _form(opened, task)


def _form(opened: Opened, task: str) -> None:
    try:
        snapshot = snapshot_of(opened)
        if method_of(snapshot.meta.mode).beyond_biases:
            raise UserError("got a fine-tune that changed weights too", "one of biases, which a snapshot holds whole")
        what = turned(snapshot)
    except UserError as error:
        page.report(error, "This one cannot be turned")
        return
    table, upload, missing = _examples(opened, snapshot, task)
    limit = st.segmented_control(
        "Validation examples",
        list(LIMITS),
        default="all",
        required=True,
        key=LIMIT,
        bind="query-params",
        help="Drawn once, the same for every λ. Fewer are faster and less certain.",
    )
    if missing:
        st.caption(f":material/database_off: {missing}")
    run = card.watched(CARD)
    busy = run is not None and run.status().active
    why_not = page.cannot_train() or ("One dial at a time: cancel the one at work first." if busy else None)
    rule = prompt_of(snapshot.meta, task)
    writes = rule is not None and rule.answered_by == "generation"
    through = [part for part in what.whole if not writes or part.layer is None]
    sets = len(through) * (len(LAMBDAS) - 1) + 1 + len(what.whole) - len(through) + len(what.cells)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Turn the dial",
            key="dial-measure",
            type="primary",
            icon=":material/play_arrow:",
            on_click=_launch,
            args=(snapshot, task, opened.title, LIMITS[str(limit)], table, upload),
            disabled=why_not is not None or bool(missing),
            help=why_not or card.IN_BACKGROUND,
        )
        how = "each writes its own answers" if writes else "read in one pass that computes what they share once"
        st.caption(f"Up to **{sets} sets of biases**, {how}.")


def _examples(
    opened: Opened, snapshot: Snapshot, task: str
) -> tuple[dict[str, Any] | None, tuple[TableForm, Table] | None, str]:
    """Find what the head is scored on: (own table or None, its upload to keep, why it cannot be scored)."""
    if task in TASKS:
        place = presence(TASKS[task])
        if not place.here and place.damaged:
            return None, None, f"Its data is not here: {plain(place.advice, 200)}"
        return None, None, ""  # what is not here may come from the Hub: the run finds out
    path = opened.source.path if opened.source is not None else None
    known = recorded_table(path, task) if path is not None else None
    if known is not None:
        return known.to_dict(), None, ""
    form = TableForm("dial_own")
    drawn = form.draw_for(task, snapshot.meta.heads[task])
    if drawn is None:
        return None, None, "Its task is a table of your own: choose one to score it on."
    return drawn[1], (form, drawn[0]), ""


def _launch(
    snapshot: Snapshot,
    task: str,
    title: str,
    limit: int | None,
    table: dict[str, Any] | None,
    upload: tuple[TableForm, Table] | None,
) -> None:
    if upload is not None and page.locked() is None:
        try:
            upload[0].keep(upload[1])
        except UserError as error:
            card.could_not(CARD, error)
            return
    card.begin(
        CARD,
        lambda: launch(
            KIND,
            DialConfig.of(snapshot, task, title[:400], limit=limit, table=table),
            snapshots={SOURCE: snapshot},
        ),
    )
