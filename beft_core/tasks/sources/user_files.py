"""Tasks from a user's own tables: CSV, TSV, JSONL or Parquet, checked row by row.

What reads what, and why. That a row is wrong helps a user only when the row is named, so CSV, TSV and JSONL
are read line by line here: the readers of ``datasets`` (pandas, pyarrow) fill or drop ragged rows and know no
line numbers. Parquet has types and no lines: pyarrow, the reader of ``datasets``, reads the columns, in a process
whose memory is limited (:mod:`beft_core.files.parquet`). The label names that data sets exported from ``datasets``
carry are read from the file's own metadata: importing ``datasets`` takes seconds, and the dashboard checks tables too.

Row numbers count lines of text files, the header being line 1, and rows of Parquet files from 1.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.files import parquet
from beft_core.files.paths import user_path
from beft_core.files.plain_file import open_plain
from beft_core.tasks.examples import Examples, TaskData
from beft_core.tasks.own_prompts import OwnPrompt, PromptTable, make_prompted_task, own_prompt_of, scored_prompts
from beft_core.tasks.own_table import (
    MAX_MEMORY,
    MAX_ROWS,
    PROBLEMS,
    Columns,
    RawTable,
    checked_name,
    collect,
    collect_texts,
    columns_of,
    default_name,
    encode,
    make_task,
    scored_task,
)
from beft_core.tasks.sources.prompt_files import read_json
from beft_core.tasks.sources.records import csv_records, jsonl_records, tsv_records

MAX_BYTES = 256 * 2**20
"""Most bytes of a file, since all of a table is held in memory."""

Rows = Iterator[tuple[int, Sequence[Any]]]
"""Iterator over rows: (row number, values of the wanted columns in their order)."""


@dataclass(frozen=True)
class OwnTable:
    """Task of the user's own: the files that hold its rows, and how they are read."""

    train_file: str
    """CSV, TSV, JSONL, JSON or Parquet."""
    text: str | None
    """Column of the text; None where a prompt names its columns."""
    label: str
    """Column of the label; of a prompt, of the right candidate or answer."""
    text_pair: str | None = None
    """Column of the second text, for tasks on pairs."""
    eval_file: str | None = None
    """Validation table; without it a fifth of the training table is held out."""
    name: str | None = None
    """Name of the task; None: see :attr:`task`."""
    problem: str | None = None
    """Kind of the labels, a key of :data:`beft_core.tasks.own_table.PROBLEMS`; None: as the labels look."""
    sha256: str | None = None
    """:meth:`content` that the files must have; None: any."""
    prompt: str | None = None
    """Template of a prompt for a language model, such as ``{text} It was``; None: a head answers."""
    candidates: tuple[str, ...] | None = None
    """Candidates of every row; see :class:`beft_core.tasks.own_prompts.OwnPrompt`."""
    candidates_column: str | None = None
    """Column with a list of each row's own candidates."""

    def __post_init__(self) -> None:
        if isinstance(self.candidates, list):  # JSON has lists where this record has tuples
            object.__setattr__(self, "candidates", tuple(self.candidates))
        for field in fields(self):
            value, expected = getattr(self, field.name), "texts" if field.name == "candidates" else "a text"
            if isinstance(value, tuple) and expected == "texts":
                right = all(isinstance(word, str) for word in value)
            elif value is None:
                right = field.default is not MISSING or (field.name == "text" and self.prompt is not None)
            else:
                right = isinstance(value, str) and expected == "a text"
            if not right:
                raise UserError(f"got {field.name} = {str(value)[:80]!r} of a table", expected)
        if self.name is not None:
            checked_name(self.name)
        if self.problem is not None and self.problem not in PROBLEMS:
            raise UserError(f"got the problem {self.problem[:80]!r}", f"one of {', '.join(PROBLEMS)}")
        if self.prompt is None and (self.candidates or self.candidates_column):
            raise UserError("got candidates without a prompt", "both", '--prompt "{text} It was"')
        if self.prompt is not None and (self.text or self.text_pair or self.problem):
            raise UserError("got a prompt with a column of the text or a problem", "the prompt alone, with its columns")
        self.columns if self.prompt is None else self.own_prompt  # noqa: B018 - wrong ones are told at once

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> OwnTable:
        """Make one of a mapping, as YAML or JSON has it. Raises UserError for unknown, missing and wrong fields."""
        names = [field.name for field in fields(cls)]
        if unknown := [name for name in values if name not in names]:
            raise UserError(f"got {str(unknown[0])[:80]!r} of a table", f"some of {', '.join(names)}")
        if values.get("prompt") is not None:
            values = {"text": None, **values}
        if missing := [f.name for f in fields(cls) if f.default is MISSING and f.name not in values]:
            raise UserError(f"got a table without {' and '.join(missing)}", f"all of {', '.join(names[:3])}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values, by name, without those that are open."""
        values = {name: value for name, value in vars(self).items() if value is not None}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @property
    def columns(self) -> Columns:
        """Names of the columns of a table without a prompt."""
        assert self.text is not None
        return Columns(self.text, self.text_pair, self.label)

    @property
    def own_prompt(self) -> OwnPrompt | None:
        """Prompt over the columns; None where a head answers."""
        if self.prompt is None:
            return None
        return OwnPrompt(self.prompt, self.label, self.candidates or (), self.candidates_column)

    @property
    def task(self) -> str:
        """Name of the task, and of its head in snapshots."""
        return self.name if self.name is not None else default_name(Path(self.train_file).stem)

    def content(self) -> str:
        """SHA-256 of the training file; after a +, that of the validation file, if there is one. Raises UserError."""
        return "+".join(content_hash(file) for file in (self.train_file, self.eval_file) if file is not None)

    def pinned(self) -> OwnTable:
        """Copy of the task, its files by their full paths and bound to what they hold now, unless it is bound already.

        Raises UserError where one is not there.
        """
        if self.sha256 is not None:
            return self
        train, held = (None if f is None else str(user_path(f).absolute()) for f in (self.train_file, self.eval_file))
        return replace(self, train_file=str(train), eval_file=held, sha256=self.content())

    def load(self) -> TaskData:
        """Read the tables. Raises UserError for everything that can be wrong with them, and for other content."""
        if self.sha256 is not None:
            for file, was, now in zip(
                (self.train_file, self.eval_file), self.sha256.split("+"), self.content().split("+"), strict=False
            ):
                if was != now:
                    raise UserError(
                        f"got {file}, which has changed since this was set up",
                        f"the content with the SHA-256 {was[:16]}…",
                        "the old file, or a new start under another name",
                    )
        if (own := self.own_prompt) is not None:
            train, held = (None if f is None else prompt_rows(f, own) for f in (self.train_file, self.eval_file))
            assert train is not None
            return make_prompted_task(own, train, held, self.task)
        assert self.text is not None
        return load_files(
            self.train_file,
            self.eval_file,
            text=self.text,
            text_pair=self.text_pair,
            label=self.label,
            name=self.name,
            problem=self.problem,
        )


@dataclass(frozen=True)
class ScoredTable:
    """Table on which a head is scored: all of its rows."""

    file: str
    text: str | None = None
    """Column of the text; None, here and below: as the snapshot records it."""
    text_pair: str | None = None
    """Column of the second text."""
    label: str | None = None
    """Column of the label."""

    def load(self, task: str, head: Mapping[str, Any]) -> TaskData:
        """Read the table as a head needs it.

        ``task``, ``head``: what :attr:`beft_core.snapshots.meta.SnapshotMeta.heads` has of it. Raises UserError for
        everything that can be wrong with the table, for labels that the head does not know, and where neither the head
        nor this says which columns count.
        """
        if (own := own_prompt_of(head)) is not None:
            if self.text is not None or self.text_pair is not None:
                raise UserError(
                    f"got a column of the text for {task}, whose prompt names its columns",
                    f"a table with {', '.join(own.spec.columns)}",
                    "renaming its columns",
                )
            own = replace(own, label=self.label or own.label)
            return scored_prompts(own, prompt_rows(self.file, own), task)
        path = user_path(self.file, "--file")
        _reader(path)  # that there is no such table is told before its columns are asked for
        known = columns_of(head)
        text, label = (getattr(self, name) or getattr(known, name, None) for name in ("text", "label"))
        if text is None or label is None:
            raise UserError(
                f"got {self.file} for the head {task}, which does not record its columns",
                "their names",
                "--text sentence --label label",
            )
        columns = Columns(text, self.text_pair or getattr(known, "text_pair", None), label)
        labels = head.get("labels")
        if labels is None and head["kind"] != "regression":
            raise UserError(f"got the head {task}, which does not record the names of its classes", "one that does")
        table = read_rows(path, columns)
        return scored_task(table, columns, name=task, labels=None if labels is None else tuple(labels))


def scored_from(fields: Mapping[str, Any], task: str, head: Mapping[str, Any]) -> TaskData:
    """Read what a head is scored on: the fields of a :class:`ScoredTable`, or of the :class:`OwnTable` that it was
    trained on, whose validation rows count. Raises UserError as they do.
    """
    if "file" not in fields:
        return replace(OwnTable.from_dict(fields), name=task).load()
    if not all(isinstance(value, str) for value in fields.values()) or not set(fields) <= set(_SCORED):
        raise UserError(f"got {str(dict(fields))[:80]} for {task}", f"texts for some of {', '.join(_SCORED)}")
    return ScoredTable(**fields).load(task, head)


_SCORED = tuple(field.name for field in fields(ScoredTable))


def load_files(
    train_file: str | Path,
    eval_file: str | Path | None,
    *,
    text: str,
    label: str,
    text_pair: str | None = None,
    name: str | None = None,
    problem: str | None = None,
    metric: str | None = None,
) -> TaskData:
    """Make a task of two tables, or of one that is split; see :func:`beft_core.tasks.own_table.make_task`.

    ``text``, ``text_pair``, ``label``: names of columns. ``name``: of the task; without it, made from the file's.

    Raises UserError for everything that can be wrong with the tables, with file and row.
    """
    columns = Columns(text, text_pair, label)
    train_path = user_path(train_file, "--train-file")
    train = read_rows(train_path, columns)
    validation = None if eval_file is None else read_rows(user_path(eval_file, "--eval-file"), columns)
    name = default_name(train_path.stem) if name is None else checked_name(name)
    return make_task(train, validation, columns, name=name, problem=problem, metric=metric)


def read_table(
    path: str | Path,
    text: str,
    text_pair: str | None,
    label: str,
    *,
    labels: tuple[str, ...] | None = None,
    problem: str | None = None,
) -> tuple[Examples, tuple[str, ...] | None]:
    """Read the examples of a table, and the names of its classes (``None``: a regression).

    ``labels``, ``problem``: see :func:`beft_core.tasks.own_table.encode`. Raises UserError with file name, and row
    where there is one.
    """
    return encode(read_rows(path, Columns(text, text_pair, label)), labels=labels, problem=problem)


def read_rows(path: str | Path, columns: Columns) -> RawTable:
    """Read a table, every cell checked; see :func:`beft_core.tasks.own_table.collect`. Raises UserError."""
    path = user_path(path, "the table")
    return collect(path.name, columns, _reader(path)(path, columns.wanted))


def read_texts(path: str | Path, text: str, text_pair: str | None = None) -> tuple[list[str], list[str] | None]:
    """Read one column of a table, or two, whose cells are texts; labels are not looked at. Raises UserError."""
    first, *second = read_columns(path, [text] if text_pair is None else [text, text_pair])
    return first, second[0] if second else None


def read_columns(path: str | Path, columns: Sequence[str], blank: Collection[str] = ()) -> list[list[str]]:
    """Read columns of a table whose cells are texts, those in ``blank`` maybe empty. Raises UserError."""
    path = user_path(path, "the table")
    wanted = list(columns)
    return collect_texts(path.name, wanted, _reader(path)(path, wanted), blank)


def prompt_rows(path: str | Path, own: OwnPrompt) -> PromptTable:
    """Open the rows of a table that a prompt is made of. Raises UserError, also while they are read."""
    path = user_path(path, "the table")
    return PromptTable(path.name, _reader(path)(path, own.wanted))


def content_hash(path: str | Path) -> str:
    """Compute the SHA-256 of a file's bytes, as 64 hexadecimal digits. Raises UserError where it cannot be read."""
    path = user_path(path, "the table")
    digest = hashlib.sha256()
    try:
        with open_plain(path, what="a file") as file:
            while block := file.read(2**20):
                digest.update(block)
            return digest.hexdigest()
    except FileNotFoundError:
        raise UserError(f"got {path}, which does not exist", "a file", "its full path") from None


# Files


def _reader(path: Path) -> Callable[[Path, list[str]], Rows]:
    """Find the reader of a file that exists, can be read and is not too big."""
    suffix = path.suffix.lower()
    try:
        with open_plain(path, what="a file") as file:
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise UserError(f"got {path}, which does not exist", "a file", "its full path") from None
    if suffix not in _READERS:
        raise UserError(
            f"got {path.name}, whose name ends in {suffix or 'nothing'}",
            f"one of {', '.join(_READERS)}",
            "exporting the table as CSV",
        )
    if size == 0:
        raise UserError(f"{path.name}: got an empty file", "a table with a header and rows")
    if size > MAX_BYTES:
        raise UserError(
            f"{path.name}: got {size / 1024**3:.1f} GB", f"at most {MAX_BYTES // 2**20} MB", "a sample of the table"
        )
    return _READERS[suffix]


def _positions(path: Path, columns: Sequence[str], wanted: list[str]) -> list[int]:
    for column in wanted:
        if columns.count(column) != 1:
            what = "no column" if column not in columns else "several columns"
            shown = ", ".join(columns[:20]) + (", ..." if len(columns) > 20 else "")
            lone = len(columns) == 1 and re.search(r"[;\t|]", columns[0])
            raise UserError(
                f"{path.name}: got {what} {column!r}",
                f"one of its columns: {shown}",
                "commas between columns (.csv) or tabs (.tsv)" if lone else "",
            )
    return [columns.index(column) for column in wanted]


def _cells(path: Path, records: Iterator[tuple[int, list[str]]], wanted: list[str]) -> Rows:
    """Read the rows of a table with a header; rows without anything are skipped."""
    header: list[str] | None = None
    where: list[int] = []
    for number, cells in records:
        if not any(cell.strip() for cell in cells) and len(cells) <= 1:
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            where = _positions(path, header, wanted)
            continue
        if len(cells) != len(header):
            raise UserError(
                f"{path.name}, row {number}: got {len(cells)} columns",
                f"{len(header)}, as in the header",
                "quotation marks around text with commas" if path.suffix.lower() == ".csv" else "",
            )
        yield number, [cells[i] for i in where]


def _csv(path: Path, wanted: list[str]) -> Rows:
    return _cells(path, csv_records(path), wanted)


def _tsv(path: Path, wanted: list[str]) -> Rows:
    return _cells(path, tsv_records(path), wanted)


def _jsonl(path: Path, wanted: list[str]) -> Rows:
    for number, row in jsonl_records(path):
        yield number, _of_object(path, number, row, wanted)


def _json(path: Path, wanted: list[str]) -> Rows:
    rows = read_json(path)
    if not isinstance(rows, list):
        raise UserError(f"{path.name}: got no list of rows", "[{...}, ...], an object for each row")
    if len(rows) > MAX_ROWS:
        raise UserError(f"{path.name}: got {len(rows):,} rows", f"at most {MAX_ROWS:,}", "a sample of the table")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise UserError(f"{path.name}, row {number}: got no JSON object", "an object for each row")
        yield number, _of_object(path, number, row, wanted)


def _of_object(path: Path, number: int, row: dict[str, Any], wanted: list[str]) -> list[Any]:
    for column in wanted:
        if column not in row:
            shown = ", ".join(list(row)[:20])
            raise UserError(f"{path.name}, row {number}: got no column {column!r}", f"one of its columns: {shown}")
    return [row[column] for column in wanted]


def _parquet(path: Path, wanted: list[str]) -> Rows:
    number = 0
    try:
        with parquet.opened(path, wanted, parquet.Limits(MAX_ROWS, MAX_MEMORY)) as (schema, batches):
            for batch in batches:
                columns = [column.to_pylist() for column in batch.columns]
                if len(wanted) > 1:
                    columns[1] = _named(schema, wanted[1], columns[1])
                for values in zip(*columns, strict=True):
                    number += 1
                    yield number, values
    except parquet.MissingColumn as missing:
        _positions(path, missing.columns, wanted)
        raise


def _named(schema: Any, column: str, values: list[Any]) -> list[Any]:
    """Names for the numbers of a class column that ``datasets`` wrote; its -1, no label, becomes None."""
    try:
        feature = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][column]
    except (KeyError, ValueError, TypeError, RecursionError):
        return values
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return values
    names = feature.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return values
    return [names[v] if isinstance(v, int) and 0 <= v < len(names) else None for v in values]


_READERS: dict[str, Callable[[Path, list[str]], Rows]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _jsonl,
    ".json": _json,
    ".parquet": _parquet,
}
