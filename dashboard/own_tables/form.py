"""Form of a table of the user's own: uploaded or kept, looked at, and which of its columns are what.

Every page that takes tables draws it, each under a prefix of its own for its controls.

An upload stays in the memory of this tab; it is written to the home folder when a run on it is launched, because the
run outlives the tab.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from beft_core.errors import UserError
from beft_core.files.home import home
from beft_core.tasks.metrics import metric_in_words
from beft_core.tasks.own_prompts import OwnPrompt
from beft_core.tasks.own_table import PROBLEMS, columns_of, default_name
from beft_core.tasks.registry import TASKS
from beft_core.tasks.sources import table_preview
from beft_core.tasks.sources.table_preview import Checked, Columns, Preview
from beft_core.tasks.sources.user_files import OwnTable
from dashboard.own_tables import prompt_controls
from dashboard.shared import page
from dashboard.shared.text import NO_COLUMN, plain

NEW, AS_THEY_LOOK = "new", "as they look"


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

    def check(self, columns: Columns, problem: str | None) -> Checked:
        """Check every row for a choice of columns and of what the labels are. Raises UserError, with the row."""
        return _check(self.digest, columns, problem, self.name, self.data)

    def check_prompt(self, own: OwnPrompt) -> Checked:
        """Check every row for a prompt over its columns. Raises UserError, with the row."""
        return _check_prompt(self.digest, own, self.name, self.data)

    def check_for(self, task: str, head: Mapping[str, Any], columns: Columns | None) -> int:
        """Count the rows on which a snapshot's head, or prompt, can be scored. Raises UserError, with the row."""
        return table_preview.check_for(self.name, self.data, columns, task, head)

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
def _check(digest: str, columns: Columns, problem: str | None, name: str, _data: bytes) -> Checked:
    return table_preview.check(name, _data, columns, problem)


@st.cache_data(max_entries=16, show_spinner="Reading every row of the table")
def _check_prompt(digest: str, own: OwnPrompt, name: str, _data: bytes) -> Checked:
    return table_preview.check_prompt(name, _data, own)


@st.cache_data(max_entries=4, show_spinner=False)
def _bytes(path: str, mtime: int, size: int) -> tuple[bytes, str]:
    data = Path(path).read_bytes()
    return data, hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class TableForm:
    """Controls of one table on a page."""

    prefix: str
    """Begin of the names of its controls, in the URL too."""
    prompts: bool = False
    """Whether a prompt over the columns is offered, too, which a language model answers."""

    def key(self, name: str) -> str:
        """Give the key of a control: ``table``, ``file``, ``text``, ``pair``, ``label``, ``name`` or ``problem``."""
        return f"{self.prefix}_{name}"

    def current(self) -> Table | None:
        """Find the table that is chosen: the upload of this tab, or a kept one."""
        name = st.session_state.get(self.key("table"), NEW)
        kept = next((path for path in table_preview.stored(folder()) if path.name == name), None)
        if kept is None:
            upload: Table | None = st.session_state.get(self.key("upload"))
            return upload
        stat = kept.stat()
        return Table(kept.name, *_bytes(str(kept), stat.st_mtime_ns, stat.st_size))

    def columns(self, table: Table, known: Columns | None = None) -> Columns:
        """Read which columns are chosen, where the table has them; else ``known`` ones, or those that are likely.

        Raises UserError.
        """
        names, likely = table.preview.columns, _likely(table.preview, known)
        text, label = (
            chosen if (chosen := st.session_state.get(self.key(name))) in names else guess
            for name, guess in (("text", likely.text), ("label", likely.label))
        )
        pair = st.session_state.get(self.key("pair"), likely.text_pair or NO_COLUMN)
        return Columns(text, pair if pair in names else None, label)

    @property
    def problem(self) -> str | None:
        """What the labels are said to be; None: as they look."""
        said = st.session_state.get(self.key("problem"))
        return said if said in PROBLEMS else None

    @property
    def prompted(self) -> bool:
        """Whether the form offers prompts, and one is chosen."""
        return self.prompts and prompt_controls.is_prompt(self.key)

    def chosen(self) -> tuple[OwnTable, Table, Checked]:
        """Read the task that the form says, with its table and what that holds. Raises UserError."""
        table = self.current()
        if table is None:
            raise UserError("got no table yet", "a table of yours, or a task of the list")
        named: dict[str, Any] = {
            "train_file": str(table.stored),
            "name": str(st.session_state.get(self.key("name")) or "").strip() or None,
            "sha256": table.digest,
        }
        if self.prompted:
            own = prompt_controls.prompt_of(self.key, table.preview)
            words: dict[str, Any] = {
                "prompt": own.template,
                "candidates": own.candidates or None,
                "candidates_column": own.candidates_column,
            }
            return OwnTable(text=None, label=own.label, **words, **named), table, table.check_prompt(own)
        columns = self.columns(table)
        return (
            OwnTable(problem=self.problem, **named, **asdict(columns)),
            table,
            table.check(columns, self.problem),
        )

    def keep(self, table: Table) -> None:
        """Write a table to the home folder, and choose it, so that the URL names it. Raises UserError."""
        table.keep()
        st.session_state[self.key("table")] = table.stored.name

    def draw(self) -> None:
        """Draw the upload, the kept tables, the first rows, the lists of columns, the name and what the labels are."""
        table = self._draw_choice(None)
        if self.prompts:
            prompt_controls.choose_who_answers(self.key)
        if table is None or not self._draw_rows(table, None):
            return
        st.text_input(
            "Name of the task",
            key=self.key("name"),
            bind="query-params",
            placeholder=default_name(table.stored.stem),
            help="By this name snapshots keep the head, and merges and comparisons list it.",
        )
        if not self.prompted:
            st.segmented_control(
                "Its labels are",
                [AS_THEY_LOOK, *PROBLEMS],
                default=AS_THEY_LOOK,
                key=self.key("problem"),
                required=True,
                bind="query-params",
                help="as they look: fractions make a regression, text and whole numbers make classes.",
            )
        try:
            checked = self.chosen()[2]
        except UserError as error:
            page.report(error, "The table does not fit yet")
            return
        if checked.prompt is not None:
            prompt_controls.shown(checked.prompt)
        st.caption(
            f"{checked.train:,} rows to train on, {checked.evaluated:,} held out for validation, always the same ones. "
            + _labels(checked)
            + f" Judged by {plain(metric_in_words(checked.metric))}."
        )

    def draw_for(self, task: str, head: Mapping[str, Any]) -> tuple[Table, dict[str, str]] | None:
        """Draw the same for a table on which a snapshot's head is scored, all rows of it.

        Returns the table and the fields of a :class:`beft_core.tasks.sources.user_files.ScoredTable`, once both fit.
        """
        known = columns_of(head)
        table = self._draw_choice(known)
        asks = head.get("prompt") is not None  # its prompt names the columns
        if table is None or not (asks or self._draw_rows(table, known)):
            return None
        try:
            columns = None if asks else self.columns(table, known)
            rows = table.check_for(task, head, columns)
        except UserError as error:
            page.report(error, "The table does not fit yet")
            return None
        st.caption(f"{rows:,} rows to score.")
        named = {} if columns is None else {k: value for k, value in asdict(columns).items() if value is not None}
        return table, {"file": str(table.stored), **named}

    def _draw_choice(self, known: Columns | None) -> Table | None:
        kept = [path.name for path in table_preview.stored(folder())]
        options = [NEW, *kept]
        if st.session_state.get(self.key("table")) not in options:
            st.session_state.pop(self.key("table"), None)
        st.selectbox(
            "Table",
            options,
            key=self.key("table"),
            bind="query-params",
            disabled=not kept,
            help="new: the file below. The others were kept when a run on them was launched; they are named by their "
            "content.",
        )
        if st.session_state.get(self.key("table"), NEW) == NEW:
            st.file_uploader(
                "A table with a row for each example",
                key=self.key("file"),
                on_change=self._take,
                args=(known,),
                max_upload_size=64,
                type=[kind.removeprefix(".") for kind in table_preview.KINDS],
                help="CSV, TSV, JSONL, JSON (a list of objects) or Parquet, with named columns. It stays in memory "
                "until you launch a run on it.",
            )
        for text in filter(None, [st.session_state.get(self.key("upload_problem"))]):
            st.error(text, title="This table cannot be read", icon=":material/error:")
        return self.current()

    def _draw_rows(self, table: Table, known: Columns | None) -> bool:
        """Draw the first rows and the lists of columns; False, after saying why, where there are none."""
        try:
            shown = table.preview
        except UserError as error:
            page.report(error, "This table cannot be read")
            return False
        table_of([dict(zip(shown.columns, row, strict=True)) for row in shown.rows], f"First rows of {table.name}")
        if self.prompted:
            prompt_controls.draw(self.key, shown, self._column)
            return True
        likely = _likely(shown, known)
        self._column("Text", "text", list(shown.columns), likely.text)
        left, right = st.columns(2)
        with left:
            self._column("Second text, for pairs", "pair", [NO_COLUMN, *shown.columns], likely.text_pair or NO_COLUMN)
        with right:
            self._column("Label", "label", list(shown.columns), likely.label)
        return True

    def _column(self, label: str, name: str, options: list[str], likely: str) -> None:
        key = self.key(name)
        if st.session_state.get(key, likely) not in options:
            st.session_state.pop(key)
        st.selectbox(label, options, index=options.index(likely), key=key, bind="query-params")

    def _take(self, known: Columns | None) -> None:
        """Check an upload before anything else happens. A broken one leaves everything else as it was."""
        st.session_state.pop(self.key("upload_problem"), None)
        file = st.session_state[self.key("file")]
        if file is None:
            st.session_state.pop(self.key("upload"), None)
            return
        data = file.getvalue()
        table = Table(file.name, data, hashlib.sha256(data).hexdigest())
        try:
            likely = _likely(table.preview, known)
        except UserError as error:
            st.session_state[self.key("upload_problem")] = plain(error, 900)
            return
        st.session_state[self.key("upload")] = table
        chosen = {"text": likely.text, "pair": likely.text_pair or NO_COLUMN, "label": likely.label}
        for name, column in chosen.items():
            st.session_state[self.key(name)] = column
        st.session_state[self.key("name")] = _task_name(file.name)
        if self.prompts:
            st.session_state[self.key("prompt")] = prompt_controls.beginning(table.preview)


def _likely(preview: Preview, known: Columns | None) -> Columns:
    """Choose the columns that a head was trained on, where the table has them all; else those that are likely."""
    return known if known is not None and set(known.wanted) <= set(preview.columns) else preview.guess()


def _task_name(file: str) -> str:
    """Name a task after an uploaded file."""
    whole = default_name(Path(file).stem)
    short = whole.removeprefix("file-")
    return whole if short in TASKS else short


def table_of(rows: list[dict[str, str]], alt: str) -> None:
    """Draw rows of strangers' text as a table; long cells wrap. ``alt``: what it shows, for those who cannot see it."""
    st.table(
        [{plain(name, 60): plain(cell, 200) for name, cell in row.items()} for row in rows], hide_index=True, alt=alt
    )


def _labels(checked: Checked) -> str:
    if checked.classes is None and checked.prompt is not None:
        return "Each row has its own candidates." if checked.metric == "accuracy" else "The answers are free text."
    if checked.classes is None:
        return "The labels are numbers: a regression."
    named = ", ".join(f"{plain(label, 40)} ({count})" for label, count in checked.classes[:8])
    return f"{len(checked.classes)} classes: {named}{' …' if len(checked.classes) > 8 else ''}."
