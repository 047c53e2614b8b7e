"""Comparisons of methods that pages can open: the bundled one, and uploads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from beft_core.errors import UserError
from beft_core.files.scratch import put, scratch_folder
from beft_core.reports.methods.table import NAME, Comparison, read_comparison
from dashboard.content.samples import samples_folder
from dashboard.result_tables.uploads import MAX_CHARACTERS, MEGABYTES
from dashboard.shared import page
from dashboard.shared.text import plain
from dashboard.shared.uploads import IN_MEMORY, forget_files, hold

BUNDLED = "Bundled comparison"
CHOICE = "comparison"
"""Key of the list, and its name in the URL."""
UPLOADS, ERRORS, ROUND = "comparison_uploads", "comparison_errors", "comparison_round"
"""Session state: title -> uploads of this tab; what was wrong with the last one; counts the uploads."""
MAX_UPLOADS, MAX_ROWS = 5, 2000
"""Most uploads of a tab, and most rows of one: methods, settings, tasks and models."""
MAX_TRAINED = 1e15
"""Most trained parameters of a method: places on the picture's axis are powers of ten, which must stay numbers."""


@dataclass(frozen=True)
class OpenComparison:
    """Comparison, read and checked."""

    title: str
    found: Comparison
    token: str
    """Key under which what is computed from it is remembered; it changes with the content."""


def pick_comparison(above: DeltaGenerator) -> OpenComparison | None:
    """Draw what went wrong, and the list, where there are several, with the upload ``above``. None where there is no
    comparison.
    """
    sample = samples_folder() / f"{NAME}.parquet"
    held: dict[str, OpenComparison] = st.session_state.get(UPLOADS, {})
    options = [*([BUNDLED] if sample.is_file() else []), *held]
    if st.session_state.get(CHOICE) not in (None, *options):
        del st.session_state[CHOICE]  # an upload that is gone
    choice = options[0] if options else None
    with above, page.control("choose", "comparison", horizontal=True, vertical_alignment="bottom"):
        if len(options) > 1:
            choice = st.selectbox("Comparison of methods", options, key=CHOICE, bind="query-params", width=230)
        _opener()
    if error := st.session_state.get(ERRORS):
        st.error(error, title="This file cannot be opened", icon=":material/error:")
    if choice is None or choice in held:
        return None if choice is None else held[choice]
    try:
        status = sample.stat()
        return OpenComparison(BUNDLED, _read(str(sample), status.st_mtime_ns), f"{status.st_mtime_ns}:{status.st_size}")
    except (OSError, UserError) as error:
        page.report(UserError(str(error)), "The bundled comparison cannot be read")
        return None


@st.cache_resource(max_entries=4, show_spinner=False)
def _read(path: str, mtime: int) -> Comparison:
    return checked(read_comparison(Path(path)))


def checked(found: Comparison) -> Comparison:
    """Check a comparison so that no picture stumbles over a cell, and cut its texts.

    Raises:
        UserError: no rows or too many, or a number that no comparison has.
    """
    rows = found.rows
    if not 0 < len(rows) <= MAX_ROWS:
        raise UserError(f"got a comparison of {len(rows):,} rows", f"1 to {MAX_ROWS:,}")
    for name in rows:
        if rows[name].dtype.kind == "f" and np.isinf(rows[name]).any():
            raise UserError(f"got an infinite number in the column {name}", "finite numbers or empty cells")
    trained = rows["trained_parameters"]
    if (strange := (trained < 0) | (trained > MAX_TRAINED)).any():
        raise UserError(f"got {trained[strange].iloc[0]:g} trained parameters", f"0 to {MAX_TRAINED:g}")
    texts = {
        name: rows[name].map(lambda cell: cell[:MAX_CHARACTERS] if isinstance(cell, str) else None)
        for name in rows
        if rows[name].dtype == object and name not in ("trials", "values")
    }
    return Comparison(rows.assign(**texts), found.pairs, found.left_out)


# --- uploads -------------------------------------------------------------------------------------------------------


def _opener() -> None:
    with st.popover("Open a comparison", icon=":material/upload_file:"):
        key = f"upload-comparison-{st.session_state.get(ROUND, 0)}"
        st.file_uploader(
            f"{NAME}.parquet of beft compare-methods",
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
    data = file.getvalue()
    try:
        with scratch_folder() as folder:  # with a name that this program chose
            found = checked(read_comparison(put(folder / f"{NAME}.parquet", data)))
    except UserError as error:
        st.session_state[ERRORS] = plain(f"{file.name}: {error}", 900)
        return
    finally:
        forget_files([file], ROUND)
    upload = OpenComparison(f"Upload: {file.name}", found, hashlib.sha256(data).hexdigest())
    st.session_state[CHOICE] = hold(UPLOADS, upload, MAX_UPLOADS)
    st.session_state[ERRORS] = None
