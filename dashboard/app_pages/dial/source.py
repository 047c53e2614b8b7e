"""Where a dial comes from: shipped beside a sample, or measured by a run of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from beft_core.dials.config import DialConfig
from beft_core.dials.result import Dial, beside, read_dial
from beft_core.errors import UserError
from beft_core.merging.config import content
from beft_core.runs.run import Run, find_run, list_runs
from beft_core.snapshots.snapshot import Snapshot, read_snapshot
from dashboard.app_pages.dial.words import FIRST
from dashboard.run_watch.card import moment
from dashboard.shared import page
from dashboard.shared.picker import DIAL_CHOICE
from dashboard.shared.sources import Opened, shelf
from dashboard.shared.text import plain

TASK = "dial_task"
KIND, RUN = "dial", "dial_run"
"""Kind of the runs that measure dials, and the name in the URL of the one that is watched."""


@dataclass(frozen=True)
class Found:
    """Dial that can be shown, and where it comes from."""

    dial: Dial
    origin: str
    """Words on who measured it, for Markdown."""


def begin_with_a_dial() -> None:
    """Choose the snapshot of the run that the link names, or the first sample, where nothing is chosen yet."""
    if DIAL_CHOICE in st.session_state or DIAL_CHOICE in st.query_params:
        return
    sources, _ = shelf()
    turned = _title_of(st.query_params.get(RUN))
    if turned is not None:
        titles = [one.title for one in sources if one.title == turned]
    else:
        paths = {one.path.name.split(".")[0]: one for one in sources if one.path is not None and one.group == "sample"}
        first = [paths[name] for name in FIRST if name in paths]
        titles = [one.title for one in first if one.path is not None and beside(one.path).is_file()]
    if titles:
        st.session_state[DIAL_CHOICE] = titles[0]


def _title_of(run: str | None) -> str | None:
    """Find the title of the snapshot that a run turned, where a link names the run alone."""
    if run is None:
        return None
    try:
        kind, fields = find_run(run).config()
        return DialConfig.from_dict(fields).title if kind == KIND else None
    except UserError:
        return None


def choose_task(opened: Opened) -> str | None:
    """Draw the list of heads, where there are several; None, after saying why, where there is none."""
    heads = list(opened.meta.heads)
    if not heads:
        st.info(
            "This snapshot keeps no head, so no metric can be computed from it. Fine-tunes of this lab keep theirs.",
            icon=":material/info:",
        )
        return None
    if len(heads) == 1:
        return heads[0]
    with page.control("choose", "dial-task"):
        return st.selectbox("Head of the task", heads, key=TASK, bind="query-params", width=320)


def find(opened: Opened, task: str, watched: Run | None) -> Found | None:
    """Find the dial of a snapshot: of the run that is watched, shipped beside it, or the newest that was measured."""
    wanted = content_of(opened)
    if watched is not None and (dial := _of_run(watched, wanted, task)) is not None:
        return Found(dial, _measured(watched))
    path = opened.source.path if opened.source is not None else None
    if path is not None and beside(path).is_file():
        try:
            dial = _read(*_version(beside(path)))
        except UserError as error:
            page.report(error, "The dial of this snapshot cannot be read")
        else:
            if (dial.source, dial.task) == (wanted, task):
                return Found(dial, "measured beforehand and shipped with the sample")
    for run in list_runs():
        if run != watched and (dial := _of_run(run, wanted, task)) is not None:
            return Found(dial, _measured(run))
    return None


def content_of(opened: Opened) -> str:
    """Hash of a snapshot, by which its dials are found."""
    assert opened.source is not None
    if opened.source.path is None:
        return content(opened.source.read())
    return _content(*_version(opened.source.path))


def snapshot_of(opened: Opened) -> Snapshot:
    """Read the snapshot itself. Raises UserError."""
    assert opened.source is not None
    return opened.source.read()


def _measured(run: Run) -> str:
    return f"measured by run {run.id[-6:]} on {moment(run.recorded().created)}"


def _of_run(run: Run, wanted: str, task: str) -> Dial | None:
    """Read the dial of a run of this snapshot that is done; None for every other run."""
    try:
        kind, fields = run.config()
        if kind != KIND or fields.get("source") != wanted or run.recorded().state != "done":
            return None
        if DialConfig.from_dict(fields).task != task:
            return None
        dial = _read(*_version(run.result))
    except UserError:
        return None
    return dial if dial.source == wanted else None


def _version(path: Path) -> tuple[str, int, int]:
    try:
        stat = path.stat()
    except OSError:
        raise UserError(f"{plain(path.name)} is gone", "a file that is still there") from None
    return str(path), stat.st_mtime_ns, stat.st_size


@st.cache_data(max_entries=64, show_spinner=False)
def _read(path: str, mtime: int, size: int) -> Dial:
    return read_dial(Path(path))


@st.cache_data(max_entries=256, show_spinner=False)
def _content(path: str, mtime: int, size: int) -> str:
    return content(read_snapshot(Path(path)))
