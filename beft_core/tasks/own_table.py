"""Tasks from a user's own rows, wherever these come from: checked one by one, encoded, split, and made a task.

Files (:mod:`beft_core.tasks.sources.user_files`) and data in memory take the same way: :func:`collect` checks every
cell, :func:`make_task` makes a task to train on, :func:`scored_task` one to score a head that was trained before.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beft_core.errors import UserError
from beft_core.tasks.cells import kind_of, text_of
from beft_core.tasks.examples import Examples, TaskData
from beft_core.tasks.metrics import METRICS
from beft_core.tasks.registry import REGIMES, TASKS
from beft_core.tasks.spec import TaskSpec

MAX_ROWS = 1_000_000
MAX_MEMORY = 320 * 2**20
"""Most bytes that a table's texts and labels may take in memory: with one rare character a text takes four times its
file's.
"""
MAX_NAME = 300
"""Most characters of a label and of a column's name; a snapshot records no longer ones."""
MIN_TRAIN, MIN_EVAL = 4, 2
"""Fewest rows of a training and of a validation table."""
MAX_CLASSES = 1000

PROBLEMS: dict[str, tuple[str, ...]] = {
    "classification": ("accuracy", "f1_macro"),
    "regression": ("spearman", "pearson"),
}
"""Kinds of labels, with the metrics by which a task of them is judged; the first one counts."""

TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
"""Pattern of a task's name, which stands in the names of tensors and files."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Columns:
    """Names of the columns that hold the text, the second text (or None) and the label."""

    text: str
    text_pair: str | None
    label: str

    def __post_init__(self) -> None:
        for column, count in Counter(self.wanted).items():
            if count > 1:
                raise UserError(f"got the column {column!r} for {count} things", "different columns for text and label")
            if len(column) > MAX_NAME or not column.isprintable():
                raise UserError(
                    f"got the column {column[:80]!r} of {len(column)} characters",
                    f"a name of at most {MAX_NAME} printable characters",
                )

    @property
    def wanted(self) -> list[str]:
        """Names in the order of the cells that :func:`collect` takes: text, label, second text if there is one."""
        return [self.text, self.label, *([] if self.text_pair is None else [self.text_pair])]


@dataclass(frozen=True)
class RawTable:
    """Rows whose cells are checked one by one; what their labels mean together is open still."""

    where: str
    """Name of the table in messages, such as ``films.csv``."""
    text: list[str]
    text_pair: list[str] | None
    label: list[str]
    rows: Sequence[int]
    """Number of each row, as messages give it."""

    def __len__(self) -> int:
        return len(self.text)


def collect(where: str, columns: Columns, rows: Iterable[tuple[int, Sequence[Any]]]) -> RawTable:
    """Check the cells of a table, row by row.

    ``where``: see :class:`RawTable`. ``rows``: number of a row and its cells in the order of ``columns.wanted``. A text
    is a str; a label is a str, a number or a bool.

    Raises UserError, with the row: an empty cell, another type, half a character, too many or too large rows.
    """
    texts: list[str] = []
    pairs: list[str] = []
    raw: list[str] = []
    numbers = array("q")
    memory = 0
    for number, cells in rows:
        texts.append(_text(where, number, columns.text, cells[0]))
        raw.append(_label(where, number, columns.label, cells[1]))
        memory += sys.getsizeof(texts[-1]) + sys.getsizeof(raw[-1])
        if columns.text_pair is not None:
            pairs.append(_text(where, number, columns.text_pair, cells[2]))
            memory += sys.getsizeof(pairs[-1])
        numbers.append(number)
        if memory > MAX_MEMORY or len(numbers) > MAX_ROWS:
            got = f"more than {MAX_MEMORY // 2**20} MB of text" if memory > MAX_MEMORY else f"over {MAX_ROWS:,} rows"
            raise UserError(f"{where}, row {number}: got {got}", "fewer", "a sample of the table")
    if not texts:
        raise UserError(f"{where}: got no rows", "a table with a row for each example")
    return RawTable(where, texts, pairs if columns.text_pair is not None else None, raw, numbers)


def collect_texts(
    where: str, columns: Sequence[str], rows: Iterable[tuple[int, Sequence[Any]]], blank: Collection[str] = ()
) -> list[list[str]]:
    """Check columns of texts without labels, row by row; returns the texts of each column.

    ``blank``: columns whose cells may be empty. Raises UserError as :func:`collect`.
    """
    texts: list[list[str]] = [[] for _ in columns]
    memory = 0
    for number, cells in rows:
        for column, held, value in zip(columns, texts, cells, strict=True):
            empty = column in blank and (value is None or not str(value).strip())
            held.append("" if empty else _text(where, number, column, value))
            memory += sys.getsizeof(held[-1])
        if memory > MAX_MEMORY or len(texts[0]) > MAX_ROWS:
            got = f"more than {MAX_MEMORY // 2**20} MB of text" if memory > MAX_MEMORY else f"over {MAX_ROWS:,} rows"
            raise UserError(f"{where}, row {number}: got {got}", "fewer", "a sample of the table")
    if not texts[0]:
        raise UserError(f"{where}: got no rows", "a table with a row for each example")
    return texts


def encode(
    table: RawTable,
    *,
    labels: tuple[str, ...] | None = None,
    problem: str | None = None,
    whose: str = "training labels",
) -> tuple[Examples, tuple[str, ...] | None]:
    """Give the examples of a table, and the names of its classes (``None``: a regression).

    ``labels``: the classes that it may have, ``whose`` they are; without it they are found and sorted, whole numbers by
    value. ``problem``: a key of :data:`PROBLEMS`; ``None`` decides by the labels: fractions (1.5, 2.0) make a
    regression, text and whole numbers make classes.

    Raises UserError, with the row where there is one.
    """
    if labels is None and problem is None:
        problem = "regression" if _is_regression(table.label) else "classification"
    if labels is None and problem == "regression":
        target: np.ndarray = _values(table)
    else:
        target, labels = _classes(table, labels, whose)
    return Examples(table.text, table.text_pair, target), labels


def make_task(
    train: RawTable,
    validation: RawTable | None,
    columns: Columns,
    *,
    name: str,
    problem: str | None = None,
    metric: str | None = None,
) -> TaskData:
    """Make a task to train on from two tables, or from one that is split 80 to 20 (by class, always in the same way).

    ``name``: see :func:`checked_name`; also that of the head in snapshots. ``problem``: see :func:`encode`. ``metric``:
    the metric that counts, one of :data:`beft_core.tasks.metrics.METRICS` that suits the labels.

    Raises UserError for everything that can be wrong with the tables, with the row where there is one.
    """
    examples, labels = encode(train, problem=problem)
    require_rows(train.where, examples, MIN_TRAIN)
    if validation is None:
        title = train.where
        examples, held = split(train.where, examples)
        source = (
            f"{train.where}, split into {len(examples)} training and {len(held)} validation examples"
            f"{'' if labels is None else ', class by class'}: no validation file was given"
        )
    else:
        title = f"{train.where} and {validation.where}"
        held, _ = encode(validation, labels=labels, problem="regression" if labels is None else None)
        require_rows(validation.where, held, MIN_EVAL)
        source = f"{train.where} for training, {validation.where} for validation"
    spec = _spec(name, title, columns, labels, metric, (validation or train).where)
    return TaskData(spec, examples, {"validation": held}, source)


def scored_task(table: RawTable, columns: Columns, *, name: str, labels: tuple[str, ...] | None) -> TaskData:
    """Make a task whose validation set is a whole table, to score a head that was trained before; none to train on.

    ``labels``: the classes that the head knows, in the order of its outputs; ``None``: it predicts a number.

    Raises UserError as :func:`encode`, and for labels that the head does not know.
    """
    whose = f"labels that the head {name} knows"
    held, _ = encode(table, labels=labels, problem="regression" if labels is None else None, whose=whose)
    require_rows(table.where, held, MIN_EVAL)
    spec = _spec(name, table.where, columns, labels, None, table.where)
    return TaskData(spec, held.take([]), {"validation": held}, table.where)


def checked_name(name: str) -> str:
    """Return the name of a task of the user's own. Raises UserError: of other characters, or of a task of the lab."""
    if not TASK_NAME.fullmatch(name):
        raise UserError(f"got --name {name[:80]!r}", "1 to 80 letters, digits, - and _", "--name reviews")
    if name.lower() in TASKS:
        raise UserError(f"got --name {name}, which is a task of the lab", "another name", f"--name my-{name.lower()}")
    return name


def default_name(stem: str) -> str:
    """Name a task after the file that it comes from, by the part of its name before the ending."""
    return "file-" + (re.sub(r"[^a-z0-9]+", "-", stem.lower())[:60].strip("-") or "table")


def columns_of(head: Mapping[str, Any]) -> Columns | None:
    """Read the columns that a snapshot records of a head (:attr:`beft_core.snapshots.meta.SnapshotMeta.heads`); None of
    a head that was not trained on a table of the user's own, or before they were recorded.
    """
    columns = head.get("columns")
    return None if columns is None else Columns(columns["text"], columns["text_pair"], columns["label"])


def names_of_classes(head: Mapping[str, Any]) -> tuple[str, ...]:
    """List the names by which the classes of two heads are compared, in order: truth values in lower case, since files
    write the same two in several ways. Empty where there are none, or nobody knows them.
    """
    labels = tuple(head.get("labels") or ())
    return tuple(label.lower() for label in labels) if _are_bools(labels) else labels


def answers_the_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Say whether two heads of one name are of one task: a table has the name of its file, whatever is asked of it."""
    if any(one.get(name) != other.get(name) for name in ("kind", "objective", "prompt")):
        return False
    if names_of_classes(one) != names_of_classes(other):
        return False
    columns = [found for found in (columns_of(one), columns_of(other)) if found is not None]
    return len(set(columns)) < 2  # of heads that were trained before columns were recorded nothing is known


def labels_in_words(head: Mapping[str, Any]) -> str:
    """Write what a head predicts: ``5 classes``, or ``a number``."""
    if head["kind"] == "regression":
        return "a number"
    return f"{len(head['labels'])} classes" if head.get("labels") else "classes"


def record_of_columns(spec: TaskSpec) -> dict[str, Any]:
    """Make what a snapshot keeps of a table of the user's own beside labels, for :func:`columns_of`; nothing of
    others.
    """
    if spec.source != "file" or spec.prompt is not None:
        return {}
    return {"columns": {"text": spec.text, "text_pair": spec.text_pair, "label": spec.label}}


def _spec(
    name: str, title: str, columns: Columns, labels: tuple[str, ...] | None, metric: str | None, evaluated: str
) -> TaskSpec:
    return TaskSpec(
        name=name,
        title=title,
        source="file",
        text=columns.text,
        text_pair=columns.text_pair,
        label=columns.label,
        labels=labels,
        metrics=_metrics(labels, metric),
        regimes=dict.fromkeys(REGIMES),
        evals={"validation": evaluated},
    )


def _metrics(labels: tuple[str, ...] | None, metric: str | None) -> tuple[str, ...]:
    default = possible = PROBLEMS["regression"]
    if labels is not None:
        default = PROBLEMS["classification"]
        possible = tuple(name for name in METRICS if name not in PROBLEMS["regression"])
        if len(labels) > 2:
            possible = tuple(name for name in possible if name != "f1")
    if metric is None:
        return default
    if metric not in possible:
        raise UserError(f"got the metric {metric!r}", f"one of {', '.join(possible)} for these labels")
    return (metric, *(name for name in default if name != metric))


def require_rows(where: str, examples: Examples, least: int) -> None:
    """Raises UserError for a table with fewer examples than it needs."""
    if len(examples) < least:
        raise UserError(f"{where}: got {len(examples)} rows", f"at least {least}")


def split(where: str, examples: Examples) -> tuple[Examples, Examples]:
    """Split examples 80 to 20; of each class a fifth, and at least one example, unless it has only one."""
    rng = np.random.default_rng(0)
    keys = examples.labels if examples.labels.dtype == np.int64 else np.zeros(len(examples), dtype=np.int64)
    held: list[int] = []
    for key in np.unique(keys):
        members = rng.permutation(np.flatnonzero(keys == key))
        held += members[: max(round(len(members) / 5), 1 if len(members) > 1 else 0)].tolist()
    if len(held) < MIN_EVAL:
        raise UserError(
            f"{where}: got {len(examples)} rows, too few to keep some for validation",
            "10 rows and more",
            "--eval-file with a table of its own",
        )
    mask = np.zeros(len(examples), dtype=bool)
    mask[held] = True
    return examples.take(np.flatnonzero(~mask)), examples.take(np.flatnonzero(mask))


# Cells


def _text(where: str, row: int, column: str, value: Any) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise UserError(f"{where}, row {row}: got an empty {column!r}", "text in every row", "removing the row")
    return text_of(value, column, f"{where}, row {row}: ")


def _label(where: str, row: int, column: str, value: Any) -> str:
    """Convert a label to a string; whole numbers and the same numbers written in another format agree."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) >= 10**MAX_NAME:
        raise UserError(f"{where}, row {row}: got a huge number as {column!r}", f"at most {MAX_NAME} digits")
    if isinstance(value, (int, float)):
        value = repr(value)
    if value is not None and not isinstance(value, str):
        raise UserError(f"{where}, row {row}: got {kind_of(value)} as {column!r}", "text or a number for each row")
    value = (value or "").strip()
    if value.lower() in ("", "nan"):
        raise UserError(f"{where}, row {row}: got no {column!r}", "a label in every row", "removing the row")
    if len(value) > MAX_NAME:
        raise UserError(f"{where}, row {row}: got {len(value):,} characters as {column!r}", f"at most {MAX_NAME}")
    return value


# Labels


def _is_regression(raw: list[str]) -> bool:
    """Whether labels are mostly numbers, some with a fraction: the few others are then mistakes in a row, not
    classes.
    """
    numbers = [value for value in raw if _NUMBER.fullmatch(value)]
    return 10 * len(numbers) >= 9 * len(raw) and not all(_INTEGER.fullmatch(value) for value in numbers)


def _values(table: RawTable) -> np.ndarray:
    raw = table.label
    for row, value in zip(table.rows, raw, strict=True):
        if not _NUMBER.fullmatch(value) or not np.isfinite(np.float32(value)):
            raise UserError(f"{table.where}, row {row}: got the label {value!r}", "a finite number")
    # Not np.array(raw): it would first make an array of texts, all as wide as the longest one.
    values = np.fromiter((np.float32(value) for value in raw), dtype=np.float32, count=len(raw))
    if len(raw) >= MIN_TRAIN and np.ptp(values) == 0:
        raise UserError(f"{table.where}: got the label {raw[0]} in every row", "labels that differ")
    return values


def _are_bools(labels: Sequence[str]) -> bool:
    """Whether these are the two truth values, in whatever case they are written."""
    return sorted(label.lower() for label in labels) == ["false", "true"]


def _classes(table: RawTable, labels: tuple[str, ...] | None, whose: str) -> tuple[np.ndarray, tuple[str, ...]]:
    raw = table.label
    whole = all(_INTEGER.fullmatch(value) for value in labels or raw)
    names = [str(int(value)) if whole and _INTEGER.fullmatch(value) else value for value in raw]
    if labels is None:
        found = set(names)
        labels = tuple(sorted(found, key=int) if whole else sorted(found))
        if len(labels) == 1:
            raise UserError(f"{table.where}: got one class only, {labels[0]!r}", "two or more", "another label column")
        if len(labels) > MAX_CLASSES or (len(labels) == len(raw) and len(raw) >= MIN_TRAIN):
            raise UserError(
                f"{table.where}: got {len(labels)} classes in {len(raw)} rows",
                f"up to {MAX_CLASSES} classes with several examples each",
                "another label column",
            )
    if _are_bools(labels):
        # Python and JSON give them as values, pandas writes them into a CSV as True and False: the same two classes.
        names, known = [name.lower() for name in names], tuple(label.lower() for label in labels)
    else:
        known = labels
    index = {name: i for i, name in enumerate(known)}
    for row, name in zip(table.rows, names, strict=True):
        if name not in index:
            shown = ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
            raise UserError(f"{table.where}, row {row}: got the label {name!r}", f"one of the {whose}, {shown}")
    return np.array([index[name] for name in names], dtype=np.int64), labels
