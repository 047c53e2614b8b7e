"""Result tables that pages can open: the bundled one, those of sweeps in the home folder, and uploads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from beft_core.errors import UserError
from beft_core.reports.merges import Merge, read_merges
from beft_core.runs.about import about
from beft_core.runs.run import Run, list_runs
from beft_core.sweeps.table import NAME, read_table
from dashboard.content.samples import samples_folder
from dashboard.result_tables.uploads import MEGABYTES, checked, read_upload
from dashboard.shared import page
from dashboard.shared.picker import follow_title, report_gone
from dashboard.shared.text import plain
from dashboard.shared.uploads import IN_MEMORY, forget_files, hold

if TYPE_CHECKING:
    import pandas as pd

CHOICE = "results"
"""Key of the list, and its name in the URL."""
SAMPLE = "sweep-results.parquet"
"""Name of the bundled table, beside the bundled snapshots."""
UPLOADS, ERRORS, ROUND = "table_uploads", "table_errors", "table_round"
"""Session state: title -> uploaded tables of this tab; what was wrong with the last one; counts the uploads."""

MAX_UPLOADS = 5


@dataclass(frozen=True)
class TableSource:
    """Result table that can be opened."""

    title: str
    """Unique title, as it stands in the list and in the URL."""
    path: Path | None = None
    shows: str = ""
    """Sentence on what one must know of it."""
    memory: pd.DataFrame | None = None
    """Table that was uploaded, where there is no path."""
    token: str = ""
    """Hash of the bytes of an upload."""


@dataclass(frozen=True)
class OpenTable:
    """Result table, read and checked."""

    title: str
    results: pd.DataFrame
    token: str
    """Key under which what is computed from the table is remembered; it changes with the content."""
    merges: tuple[Merge, ...] | None = None
    shows: str = ""


# --- what there is -------------------------------------------------------------------------------------------------


def tables() -> list[TableSource]:
    """List the bundled table first, then uploads, then sweeps, newest first."""
    sample = samples_folder() / SAMPLE
    found = [TableSource("Bundled sweep", sample)] if sample.is_file() else []
    found += st.session_state.get(UPLOADS, {}).values()
    return found + [source for run in list_runs() if (source := _of_run(run)) is not None]


def _of_run(run: Run) -> TableSource | None:
    path = run.path / "sweep" / f"{NAME}.parquet"
    if not path.is_file():
        return None
    state = run.recorded().state
    early = "" if state == "done" else f"This sweep is not complete ({state}): what it had until now."
    return TableSource(f"Run {run.id[-6:]}: {about(run).name or 'sweep'}", path, early)


def pick_table() -> OpenTable | None:
    """Draw the list and the upload; below, what went wrong. None (after saying why) if nothing can be shown."""
    sources = tables()
    options = [source.title for source in sources]
    gone = follow_title(CHOICE, options)
    with page.control("choose", "results", horizontal=True, vertical_alignment="bottom"):
        choice = None
        if options:
            choice = st.selectbox(
                "Result table",
                options,
                key=CHOICE,
                bind="query-params",
                width="stretch",
                help="The bundled sweep, sweeps of this machine, and what you upload.",
            )
        _opener()
    with st.container():  # always there, so that what follows keeps its place
        if error := st.session_state.get(ERRORS):
            st.error(error, title="This file cannot be opened", icon=":material/error:")
        report_gone(gone, "Uploads live in one tab.")
    if choice is None:
        _nothing_yet()
        return None
    source = next(source for source in sources if source.title == choice)
    try:
        return open_table(source)
    except UserError as error:
        page.report(error, f"{plain(source.title)} cannot be shown")
        return None


def _nothing_yet() -> None:
    with st.container(border=True):
        st.markdown(
            "**No result table yet.** A sweep fine-tunes every bias term alone and all of them together, over tasks, "
            "learning rates and seeds, and writes one row per fine-tune. This one takes a few minutes on two cores:"
        )
        st.code(
            "beft sweep --tasks demo-sentiment --n-train 100 --seeds 2 --out my-sweep", language="sh", wrap_lines=True
        )
        st.markdown(f"Then open `my-sweep/{NAME}.parquet` here.")


# --- opening -------------------------------------------------------------------------------------------------------


def open_table(source: TableSource) -> OpenTable:
    """Read and check a table; remembered until the file changes.

    Raises:
        UserError: it is gone, or not a result table.
    """
    if source.path is None:
        assert source.memory is not None
        return OpenTable(source.title, source.memory, source.token, None, source.shows)
    try:
        stat = source.path.stat()
    except OSError:
        raise UserError(f"{source.path.name} is gone", "a table that is still there", "another of the list") from None
    results = _read(str(source.path), stat.st_mtime_ns, stat.st_size)
    token = f"{source.path}:{stat.st_mtime_ns}:{stat.st_size}"
    return OpenTable(source.title, results, token, read_merges(source.path.parent), source.shows)


@st.cache_resource(max_entries=4, show_spinner=False)
def _read(path: str, mtime: int, size: int) -> pd.DataFrame:
    """Read a table that all sessions share: a copy for each rerun would take longer than the page. Nobody may change
    it; pandas copies what is taken from it before it is written to.
    """
    return checked(read_table(Path(path)))


# --- uploads -------------------------------------------------------------------------------------------------------


def _opener() -> None:
    with st.popover("Open a table", icon=":material/upload_file:"):
        key = f"upload-results-{st.session_state.get(ROUND, 0)}"
        st.file_uploader(
            f"{NAME}.parquet or {NAME}.csv of a sweep",
            key=key,
            on_change=_accept,
            args=(key,),
            max_upload_size=MEGABYTES,
        )
        st.caption(IN_MEMORY)


def _accept(key: str) -> None:
    """Check the upload before anything else runs. A broken one leaves everything else as it was."""
    file = st.session_state[key]
    if file is None:
        return
    try:
        results, token = read_upload(file.getvalue())
    except UserError as error:
        st.session_state[ERRORS] = plain(f"{file.name}: {error}", 900)
        return
    finally:
        forget_files([file], ROUND)
    upload = TableSource(f"Upload: {file.name}", memory=results, token=token)
    st.session_state[CHOICE] = hold(UPLOADS, upload, MAX_UPLOADS)
    st.session_state[ERRORS] = None


def of_model(opened: OpenTable, model: str) -> OpenTable:
    """Keep only the rows of one model; a table that has no other is left as it is."""
    if (opened.results["model"] == model).all():
        return opened
    own = opened.results[opened.results["model"] == model].reset_index(drop=True)
    return replace(opened, results=own, token=f"{opened.token}:{model}")
