"""Tasks from a user's own tables: CSV, TSV, JSONL or Parquet, checked row by row.

What reads what, and why. That a row is wrong helps a user only when the row is named, so CSV, TSV and JSONL
are read line by line here: the readers of ``datasets`` (pandas, pyarrow) fill or drop ragged rows and know no
line numbers. Parquet has types and no lines: pyarrow, the reader of ``datasets``, reads the columns, in a process
whose memory is limited (:mod:`beft_core.files.parquet`). The label names that data sets exported from ``datasets``
carry are read from the file's own metadata: importing ``datasets`` takes seconds, and the dashboard checks tables too.

Row numbers count lines of text files, the header being line 1, and rows of Parquet files from 1.
"""

from __future__ import annotations

import json
import os
import re
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from beft_core.errors import UserError
from beft_core.files import parquet
from beft_core.files.paths import user_path
from beft_core.files.plain_file import open_plain
from beft_core.tasks.examples import Examples, TaskData
from beft_core.tasks.metrics import METRICS
from beft_core.tasks.registry import REGIMES, TaskSpec
from beft_core.tasks.sources.records import csv_records, jsonl_records, tsv_records

MAX_BYTES = 256 * 2**20
"""Larger files are refused: all of a table is held in memory."""
MOST_ROWS = 1_000_000
MOST_MEMORY = 320 * 2**20
"""Bytes that a table's texts and labels take in memory: with one rare character a text takes four times its file's."""
LONGEST_LABEL = 300
"""Characters; a snapshot records no longer ones."""
MIN_TRAIN, MIN_EVAL = 4, 2
"""The fewest rows of a training and of a validation table."""
MAX_CLASSES = 1000

CLASSIFICATION = ("accuracy", "f1_macro")
REGRESSION = ("spearman", "pearson")

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")

Rows = Iterator[tuple[int, Sequence[Any]]]
"""Row number and the values of the wanted columns, in their order."""


def load_files(
    train_file: str | Path,
    eval_file: str | Path | None,
    *,
    text: str,
    label: str,
    text_pair: str | None = None,
    regression: bool | None = None,
    metric: str | None = None,
) -> TaskData:
    """A task of two tables, or of one that is split 80 to 20 (by class, always in the same way).

    ``text``, ``text_pair``, ``label``: names of columns. ``regression``: see :func:`read_table`. ``metric``:
    the metric that counts, one of :data:`beft_core.tasks.metrics.METRICS` that suits the labels.

    Raises UserError for everything that can be wrong with the tables, with file and row.
    """
    train_path = user_path(train_file, "--train-file")
    train, labels = read_table(train_path, text, text_pair, label, regression=regression)
    _require_rows(train_path, train, MIN_TRAIN)
    if eval_file is None:
        train, validation = _split(train_path, train)
        source = (
            f"{train_path.name}, split into {len(train)} training and {len(validation)} validation examples"
            f"{'' if labels is None else ', class by class'}: no validation file was given"
        )
    else:
        eval_path = user_path(eval_file, "--eval-file")
        validation, _ = read_table(eval_path, text, text_pair, label, labels=labels, regression=labels is None)
        _require_rows(eval_path, validation, MIN_EVAL)
        source = f"{train_path.name} for training, {eval_path.name} for validation"
    spec = TaskSpec(
        name="file-" + _slug(train_path.stem),
        title=train_path.name,
        source="file",
        text=text,
        text_pair=text_pair,
        label=label,
        labels=labels,
        metrics=_metrics(labels, metric),
        regimes=dict.fromkeys(REGIMES),
        evals={"validation": Path(eval_file or train_file).name},
    )
    return TaskData(spec, train, {"validation": validation}, source)


def read_table(
    path: str | Path,
    text: str,
    text_pair: str | None,
    label: str,
    *,
    labels: tuple[str, ...] | None = None,
    regression: bool | None = None,
) -> tuple[Examples, tuple[str, ...] | None]:
    """Examples of a table, and the names of its classes (``None``: a regression).

    ``labels``: the classes that the table may have (a validation table); without it they are found and
    sorted, whole numbers by value. ``regression``: ``None`` decides by the labels: fractions (1.5, 2.0) make
    a regression, text and whole numbers make classes.

    Raises UserError with file name, and row where there is one.
    """
    path = user_path(path, "the table")
    wanted = [text, label] if text_pair is None else [text, label, text_pair]
    for column, count in Counter(wanted).items():
        if count > 1:
            raise UserError(f"got the column {column!r} for {count} things", "different columns for text and label")
    texts: list[str] = []
    pairs: list[str] = []
    raw: list[str] = []
    numbers = array("q")
    memory = 0
    for number, values in _reader(path)(path, wanted):
        texts.append(_text(path, number, text, values[0]))
        raw.append(_label(path, number, label, values[1]))
        memory += sys.getsizeof(texts[-1]) + sys.getsizeof(raw[-1])
        if text_pair is not None:
            pairs.append(_text(path, number, text_pair, values[2]))
            memory += sys.getsizeof(pairs[-1])
        numbers.append(number)
        if memory > MOST_MEMORY or len(numbers) > MOST_ROWS:
            got = f"more than {MOST_MEMORY // 2**20} MB of text" if memory > MOST_MEMORY else f"over {MOST_ROWS:,} rows"
            raise UserError(f"{path.name}, row {number}: got {got}", "fewer", "a sample of the table")
    if not texts:
        raise UserError(f"{path.name}: got no rows", "a table with a row for each example")
    if labels is None and regression is None:
        regression = _is_regression(raw)
    target, labels = _values(path, numbers, raw) if regression else _classes(path, numbers, raw, labels)
    return Examples(texts, pairs if text_pair is not None else None, target), labels


def _slug(stem: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", stem.lower())[:60].strip("-") or "table"


def _metrics(labels: tuple[str, ...] | None, metric: str | None) -> tuple[str, ...]:
    default: tuple[str, ...] = REGRESSION
    possible = default
    if labels is not None:
        default = CLASSIFICATION
        possible = tuple(name for name in METRICS if name not in REGRESSION)
        if len(labels) > 2:
            possible = tuple(name for name in possible if name != "f1")
    if metric is None:
        return default
    if metric not in possible:
        raise UserError(f"got the metric {metric!r}", f"one of {', '.join(possible)} for these labels")
    return (metric, *(name for name in default if name != metric))


def _require_rows(path: Path, examples: Examples, least: int) -> None:
    if len(examples) < least:
        raise UserError(f"{path.name}: got {len(examples)} rows", f"at least {least}")


def _split(path: Path, examples: Examples) -> tuple[Examples, Examples]:
    """80 to 20; of each class a fifth, and at least one example, unless it has only one."""
    rng = np.random.default_rng(0)
    keys = examples.labels if examples.labels.dtype == np.int64 else np.zeros(len(examples), dtype=np.int64)
    held: list[int] = []
    for key in np.unique(keys):
        members = rng.permutation(np.flatnonzero(keys == key))
        held += members[: max(round(len(members) / 5), 1 if len(members) > 1 else 0)].tolist()
    if len(held) < MIN_EVAL:
        raise UserError(
            f"{path.name}: got {len(examples)} rows, too few to keep some for validation",
            "10 rows and more",
            "--eval-file with a table of its own",
        )
    mask = np.zeros(len(examples), dtype=bool)
    mask[held] = True
    return examples.take(np.flatnonzero(~mask)), examples.take(np.flatnonzero(mask))


# Values


def _text(path: Path, row: int, column: str, value: Any) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise UserError(f"{path.name}, row {row}: got an empty {column!r}", "text in every row", "removing the row")
    if not isinstance(value, str):
        raise UserError(f"{path.name}, row {row}: got {_kind(value)} in {column!r}", "text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(f"{path.name}, row {row}: got half a character in {column!r}", "Unicode") from None
    return value


def _label(path: Path, row: int, column: str, value: Any) -> str:
    """A label as a string; whole numbers and the same numbers written in another format agree."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) >= 10**LONGEST_LABEL:
        raise UserError(f"{path.name}, row {row}: got a huge number as {column!r}", f"at most {LONGEST_LABEL} digits")
    if isinstance(value, (int, float)):
        value = repr(value)
    if value is not None and not isinstance(value, str):
        raise UserError(f"{path.name}, row {row}: got {_kind(value)} as {column!r}", "text or a number for each row")
    value = (value or "").strip()
    if value.lower() in ("", "nan"):
        raise UserError(f"{path.name}, row {row}: got no {column!r}", "a label in every row", "removing the row")
    if len(value) > LONGEST_LABEL:
        raise UserError(
            f"{path.name}, row {row}: got {len(value):,} characters as {column!r}", f"at most {LONGEST_LABEL}"
        )
    return value


def _kind(value: Any) -> str:
    names = {int: "a number", float: "a number", bool: "true or false", list: "a list", dict: "an object"}
    return names.get(type(value), f"a value of type {type(value).__name__}")


def _is_regression(raw: list[str]) -> bool:
    """Mostly numbers, some with a fraction: the few others are then mistakes in a row, not classes."""
    numbers = [value for value in raw if _NUMBER.fullmatch(value)]
    return 10 * len(numbers) >= 9 * len(raw) and not all(_INTEGER.fullmatch(value) for value in numbers)


def _values(path: Path, rows: Sequence[int], raw: list[str]) -> tuple[np.ndarray, None]:
    for row, value in zip(rows, raw, strict=True):
        if not _NUMBER.fullmatch(value) or not np.isfinite(np.float32(value)):
            raise UserError(f"{path.name}, row {row}: got the label {value!r}", "a finite number")
    # Not np.array(raw): it would first make an array of texts, all as wide as the longest one.
    values = np.fromiter((np.float32(value) for value in raw), dtype=np.float32, count=len(raw))
    if len(raw) >= MIN_TRAIN and np.ptp(values) == 0:
        raise UserError(f"{path.name}: got the label {raw[0]} in every row", "labels that differ")
    return values, None


def _classes(
    path: Path, rows: Sequence[int], raw: list[str], labels: tuple[str, ...] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    whole = all(_INTEGER.fullmatch(value) for value in labels or raw)
    names = [str(int(value)) if whole and _INTEGER.fullmatch(value) else value for value in raw]
    if labels is None:
        found = set(names)
        labels = tuple(sorted(found, key=int) if whole else sorted(found))
        if len(labels) == 1:
            raise UserError(f"{path.name}: got one class only, {labels[0]!r}", "two or more", "another label column")
        if len(labels) > MAX_CLASSES or (len(labels) == len(raw) and len(raw) >= MIN_TRAIN):
            raise UserError(
                f"{path.name}: got {len(labels)} classes in {len(raw)} rows",
                f"up to {MAX_CLASSES} classes with several examples each",
                "another label column",
            )
    index = {name: i for i, name in enumerate(labels)}
    for row, name in zip(rows, names, strict=True):
        if name not in index:
            shown = ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
            raise UserError(f"{path.name}, row {row}: got the label {name!r}", f"one of the training labels, {shown}")
    return np.array([index[name] for name in names], dtype=np.int64), labels


# Files


def _reader(path: Path) -> Callable[[Path, list[str]], Rows]:
    """The reader of a file that exists, can be read and is not too big."""
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
    """Rows of a table with a header; rows without anything are skipped."""
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
        with parquet.opened(path, wanted, parquet.Limits(MOST_ROWS, MOST_MEMORY)) as (schema, batches):
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
