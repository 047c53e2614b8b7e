"""Table of the user's own: uploaded or kept, looked at, and which of its columns are what.

An upload stays in the memory of this tab; it is written to the home folder when a run on it is launched, because the
run outlives the tab.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from beft_core.errors import UserError
from beft_core.files.home import home
from beft_core.tasks.sources import table_preview
from beft_core.tasks.sources.table_preview import Checked, Columns, Preview
from dashboard.shared import page
from dashboard.shared.text import plain

FILE, UPLOAD, PROBLEM = "ft_file", "ft_upload", "ft_upload_problem"
TABLE, TEXT, PAIR, LABEL = "ft_table", "ft_text", "ft_pair", "ft_label"
NEW, NO_COLUMN = "new", "–"


@dataclass(frozen=True)
class Table:
    """Table of the user's own that can be read."""

    name: str
    """Name that its owner gave it; only ever shown."""
    data: bytes
    digest: str

    @property
    def stored(self) -> Path:
        """Path at which it is, or will be, kept."""
        return folder() / table_preview.stored_name(self.name, self.data)

    @property
    def preview(self) -> Preview:
        """Read its columns and first rows. Raises UserError."""
        return _preview(self.digest, self.name, self.data)

    def check(self, columns: Columns) -> Checked:
        """Check every row for a choice of columns. Raises UserError, with the row."""
        return _check(self.digest, columns, self.name, self.data)

    def keep(self) -> None:
        """Write it to the home folder. Raises UserError."""
        table_preview.store(self.name, self.data, folder())


def folder() -> Path:
    """Folder in which tables are kept."""
    return home() / "tables"


@st.cache_data(max_entries=16, show_spinner=False)
def _preview(digest: str, name: str, _data: bytes) -> Preview:
    return table_preview.preview(name, _data)


@st.cache_data(max_entries=16, show_spinner="Reading every row of the table")
def _check(digest: str, columns: Columns, name: str, _data: bytes) -> Checked:
    return table_preview.check(name, _data, columns)


@st.cache_data(max_entries=4, show_spinner=False)
def _bytes(path: str, mtime: int, size: int) -> tuple[bytes, str]:
    data = Path(path).read_bytes()
    return data, hashlib.sha256(data).hexdigest()


def current() -> Table | None:
    """Find the table that is chosen: the upload of this tab, or a kept one."""
    name = st.session_state.get(TABLE, NEW)
    kept = next((path for path in table_preview.stored(folder()) if path.name == name), None)
    if kept is None:
        upload: Table | None = st.session_state.get(UPLOAD)
        return upload
    stat = kept.stat()
    return Table(kept.name, *_bytes(str(kept), stat.st_mtime_ns, stat.st_size))


def columns(table: Table) -> Columns:
    """Read which columns are chosen, where the table has them; else those that are likely. Raises UserError."""
    names, likely = table.preview.columns, table.preview.guess()
    text, label = (
        chosen if (chosen := st.session_state.get(key)) in names else guess
        for key, guess in ((TEXT, likely.text), (LABEL, likely.label))
    )
    pair = st.session_state.get(PAIR, likely.text_pair or NO_COLUMN)
    return Columns(text, pair if pair in names else None, label)


def choose() -> None:
    """Draw the upload, the kept tables, the first rows and the lists of columns."""
    kept = [path.name for path in table_preview.stored(folder())]
    options = [NEW, *kept]
    if st.session_state.get(TABLE) not in options:
        st.session_state.pop(TABLE, None)
    st.selectbox(
        "Table",
        options,
        key=TABLE,
        bind="query-params",
        disabled=not kept,
        help="new: the file below. The others were kept when a run on them was launched; they are named by their "
        "content.",
    )
    if st.session_state.get(TABLE, NEW) == NEW:
        st.file_uploader(
            "A table with a row for each example",
            key=FILE,
            on_change=_take,
            max_upload_size=64,
            type=[kind.removeprefix(".") for kind in table_preview.KINDS],
            help="CSV, TSV, JSONL or Parquet, with named columns. It stays in memory until you launch a run on it.",
        )
    for text in filter(None, [st.session_state.get(PROBLEM)]):
        st.error(text, title="This table cannot be read", icon=":material/error:")
    table = current()
    if table is None:
        return
    try:
        shown = table.preview
    except UserError as error:
        page.report(error, "This table cannot be read")
        return
    table_of([dict(zip(shown.columns, row, strict=True)) for row in shown.rows], f"First rows of {table.name}")
    likely = shown.guess()
    _column("Text", TEXT, list(shown.columns), likely.text)
    left, right = st.columns(2)
    with left:
        _column("Second text, for pairs", PAIR, [NO_COLUMN, *shown.columns], likely.text_pair or NO_COLUMN)
    with right:
        _column("Label", LABEL, list(shown.columns), likely.label)
    try:
        checked = table.check(columns(table))
    except UserError as error:
        page.report(error, "The table does not fit yet")
        return
    st.caption(
        f"{checked.train:,} rows to train on, {checked.evaluated:,} held out for validation, always the same ones. "
        + _labels(checked)
        + f" Judged by {plain(checked.metric)}."
    )


def table_of(rows: list[dict[str, str]], alt: str) -> None:
    """Draw rows of strangers' text as a table; long cells wrap. ``alt``: what it shows, for those who cannot see it."""
    st.table(
        [{plain(name, 60): plain(cell, 200) for name, cell in row.items()} for row in rows], hide_index=True, alt=alt
    )


def _column(label: str, key: str, options: list[str], likely: str) -> None:
    if st.session_state.get(key, likely) not in options:
        st.session_state.pop(key)
    st.selectbox(label, options, index=options.index(likely), key=key, bind="query-params")


def _labels(checked: Checked) -> str:
    if checked.classes is None:
        return "The labels are numbers: a regression."
    named = ", ".join(f"{plain(label, 40)} ({count})" for label, count in checked.classes[:8])
    return f"{len(checked.classes)} classes: {named}{' …' if len(checked.classes) > 8 else ''}."


def _take() -> None:
    """Check an upload before anything else happens. A broken one leaves everything else as it was."""
    st.session_state.pop(PROBLEM, None)
    file = st.session_state[FILE]
    if file is None:
        st.session_state.pop(UPLOAD, None)
        return
    data = file.getvalue()
    table = Table(file.name, data, hashlib.sha256(data).hexdigest())
    try:
        guess = table.preview.guess()
    except UserError as error:
        st.session_state[PROBLEM] = plain(error, 900)
        return
    st.session_state[UPLOAD] = table
    st.session_state[TEXT], st.session_state[LABEL] = guess.text, guess.label
    st.session_state[PAIR] = guess.text_pair or NO_COLUMN
