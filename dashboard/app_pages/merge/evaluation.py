"""Evaluation of a merge in the background: launching it, watching it, finding it again.

Which evaluation is looked at stands in the URL (``?merge_run=ID``); everything else is read from the run's folder.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from beft_core.errors import UserError
from beft_core.execution.start import launch
from beft_core.merging.config import MergeConfig
from beft_core.merging.methods import METHODS
from beft_core.merging.plan import plan, tasks_of
from beft_core.merging.plane import SIDES
from beft_core.runs.kinds import KINDS
from beft_core.runs.run import Run, list_runs
from beft_core.runs.tables import recorded_table
from beft_core.tasks.registry import TASKS
from beft_core.tasks.sources.presence import presence
from dashboard.app_pages.merge.choice import Choice
from dashboard.app_pages.merge.method import Merge
from dashboard.figures.parts.labels import as_written
from dashboard.own_tables.form import Table, TableForm
from dashboard.run_watch import card
from dashboard.shared import page
from dashboard.shared.text import plain

LIMIT, POINTS, EARLIER = "merge_examples", "merge_points", "merge_earlier"
LIMITS: dict[str, int | None] = {"100": 100, "200": 200, "500": 500, "all": None}
LINES: dict[str, int] = {"no line": 0, "5 points": 5, "11 points": 11, "21 points": 21}
MAX_EARLIER = 20
CARD = card.Card(
    page="merge",
    link="merge_run",
    what="evaluation",
    cancel_help="Stops at once; what was scored is kept and can be gone on from.",
    doing="Evaluating ",
    units=" examples",
    last_stage=lambda run: "evaluate",
    again="Go on with it",
    adopts=False,
)
"""Card of an evaluation. What came of one that is done is shown by the page."""


def config_of(run: Run) -> MergeConfig | None:
    """Read the configuration of an evaluation; None where its folder is damaged."""
    try:
        return MergeConfig.from_dict(run.config()[1])
    except UserError:
        return None


# --- launching -----------------------------------------------------------------------------------------------------


def launcher(choice: Choice, made: Merge, plane: DeltaGenerator | None = None) -> None:
    """Draw how much to score, how many evaluations that is, and the button.

    ``plane``: where the button stands that scores the plane of the two changes too; None: nowhere.
    """
    with page.control("settings", "merge-launch", horizontal=True, gap="medium"):
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
    tables, uploads = _own_tables(choice)
    config = MergeConfig.of(
        choice.snapshots,
        choice.titles,
        method=made.method.name,
        settings=made.settings,
        terms=choice.terms,
        points=LINES[points],
        limit=LIMITS[limit],
        tables=tables,
    )
    here, missing = _data(choice, tables)
    work = plan(choice.snapshots, config)
    count = len(work.values) * len(here)
    for why, tasks in _by_reason(missing).items():
        names = ", ".join(f"**{plain(as_written(task))}**" for task in tasks)
        left = "" if set(tasks) & set(here) else " will be left out"
        st.caption(f":material/database_off: {names}{left}: {why}")
    run = card.watched(CARD)
    busy = run is not None and run.status().active
    why_not = page.cannot_train() or ("One evaluation at a time: cancel the one at work first." if busy else None)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Evaluate on all their tasks",
            key="merge-evaluate",
            type="primary",
            icon=":material/play_arrow:",
            on_click=_launch,
            args=(config, choice, uploads),
            disabled=why_not is not None or not here,
            help=why_not or card.IN_BACKGROUND,
        )
        st.caption(_estimate(count, len(work.values), len(here), config))
        _earlier(choice)
    if plane is not None:
        with plane:
            st.button(
                "Score the plane",
                key="merge-plane-evaluate",
                icon=":material/play_arrow:",
                on_click=_launch,
                args=(replace(config, plane=SIDES[0]), choice, uploads),
                disabled=why_not is not None or not here,
                help=why_not or card.IN_BACKGROUND,
            )
            st.caption(f"{SIDES[0] ** 2} points on {len(here)} task{'s' * (len(here) != 1)}, and the merge below.")


def _by_reason(missing: Mapping[str, str]) -> dict[str, list[str]]:
    """Group tasks by why they cannot be scored: reason -> tasks."""
    reasons: dict[str, list[str]] = {}
    for task, why in missing.items():
        reasons.setdefault(why, []).append(task)
    return reasons


def _estimate(count: int, merges: int, tasks: int, config: MergeConfig) -> str:
    if not tasks:
        return "None of their tasks can be scored on this machine."
    most = "all" if config.limit is None else f"up to {config.limit}"
    text = f"About **{count} evaluations** of {most} examples: {merges} sets of biases × {tasks} task"
    text += "s" if tasks > 1 else ""
    if config.points and config.method == "fisher":
        text += ". A Fisher average has no parameter, and so no line"
    return text + "."


def _own_tables(choice: Choice) -> tuple[dict[str, dict[str, Any]], list[tuple[TableForm, Table]]]:
    """Find what heads of tables of the user's own are scored on: as a run of this machine records it, else as the form
    says that is drawn for it. Also returns the tables of these forms, which a launch keeps.
    """
    tables: dict[str, dict[str, Any]] = {}
    uploads: list[tuple[TableForm, Table]] = []
    for snapshot, path in zip(choice.snapshots, choice.paths, strict=True):
        for task in snapshot.meta.heads:
            known = recorded_table(path, task) if path is not None and task not in TASKS else None
            if known is not None:
                tables[task] = known.to_dict()
    heads: dict[str, dict[str, Any]] = {}
    for snapshot in choice.snapshots:
        heads = snapshot.meta.heads | heads  # of a task that several have, the first, as the merge takes it
    for number, (task, head) in enumerate(heads.items(), 1):
        if task in TASKS or task in tables:
            continue
        with (
            page.control("settings", f"merge-table-{number}"),
            st.expander(f"A table to score **{plain(as_written(task))}** on", icon=":material/table:"),
        ):
            form = TableForm(f"merge_own{number}")
            drawn = form.draw_for(task, head)
        if drawn is not None:
            tables[task] = drawn[1]
            uploads.append((form, drawn[0]))
    return tables, uploads


def _data(choice: Choice, tables: Collection[str]) -> tuple[list[str], dict[str, str]]:
    """Find the tasks that can be scored, and those whose data is known not to be here, with what to do."""
    known, left_out = tasks_of(choice.snapshots, tables)
    left_out = dict.fromkeys(left_out, "no table of your own to score it on is chosen")
    here = []
    for task in known:
        if task in tables:
            here.append(task)
            continue
        place = presence(TASKS[task])
        if not place.here:
            left_out[task] = f"no data is here: {plain(place.advice, 200)}"
        if place.here or not place.damaged:
            here.append(task)  # the run finds out whether the Hub answers
    return here, left_out


def _launch(config: MergeConfig, choice: Choice, uploads: Sequence[tuple[TableForm, Table]]) -> None:
    snapshots = dict(zip(config.files, choice.snapshots, strict=True))
    if page.locked() is None:
        try:
            for form, table in uploads:
                form.keep(table)
        except UserError as error:
            card.could_not(CARD, error)
            return
    card.begin(CARD, lambda: launch("merge", config, snapshots=snapshots))


# --- finding evaluations again -------------------------------------------------------------------------------------


def _earlier(choice: Choice) -> None:
    """Draw the list of earlier evaluations of the same fine-tunes, newest first."""
    current = card.watched(CARD)
    found: dict[str, str] = {}
    wanted = list(choice.contents)
    for run in list_runs():
        try:
            kind, fields = run.config()
        except UserError:
            continue
        if (
            KINDS[kind].page == CARD.page
            and fields.get("sources") == wanted
            and run.recorded().state == "done"
            and run != current
        ):
            config = config_of(run)
            if config is not None:
                terms = f" of {', '.join(config.terms)}" if config.terms and len(choice.common) > 1 else ""
                found[f"{title(config)}{terms} · {card.moment(run.recorded().created)}"] = run.id
        if len(found) == MAX_EARLIER:
            break
    card.choose_other(CARD, EARLIER, "Earlier evaluations of these", found)


def title(config: MergeConfig) -> str:
    """Write a merge in a few words: its method and settings."""
    settings = METHODS[config.method].settings(config.settings, len(config.files))
    words = [METHODS[config.method].label]
    for name, value in settings.items():
        numbers = [
            f"{v:g}" if isinstance(v, float) else str(v) for v in (value if isinstance(value, list) else [value])
        ]
        words.append(f"{name} {' : '.join(numbers)}")
    return ", ".join(words)
