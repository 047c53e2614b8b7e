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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.files import parquet
from beft_core.files.paths import user_path
from beft_core.files.plain_file import open_plain
from beft_core.tasks.examples import Examples, TaskData
from beft_core.tasks.own_table import (
    MAX_MEMORY,
    MAX_ROWS,
    Columns,
    RawTable,
    checked_name,
    collect,
    default_name,
    encode,
    make_task,
)
from beft_core.tasks.sources.records import csv_records, jsonl_records, tsv_records

MAX_BYTES = 256 * 2**20
"""Most bytes of a file, since all of a table is held in memory."""

Rows = Iterator[tuple[int, Sequence[Any]]]
"""Iterator over rows: (row number, values of the wanted columns in their order)."""


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
        for column in wanted:
            if column not in row:
                shown = ", ".join(list(row)[:20])
                raise UserError(f"{path.name}, row {number}: got no column {column!r}", f"one of its columns: {shown}")
        yield number, [row[column] for column in wanted]


def _parquet(path: Path, wanted: list[str]) -> Rows:
    number = 0
    try:
        with parquet.opened(path, wanted, parquet.Limits(MAX_ROWS, MAX_MEMORY)) as (schema, batches):
            for batch in batches:
                columns = [column.to_pylist() for column in batch.columns]
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
    ".parquet": _parquet,
}
