"""Preview of a user's table before it is used: its columns, its first rows, which columns are probably what, and
whether it fits.

It may be bytes that somebody uploaded. They are checked in a temporary folder by the same readers that a fine-tune
uses, and :func:`store` keeps them under a name made of their content: a stranger's file name never becomes a path.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.files import parquet
from beft_core.files.safe_io import atomic_write
from beft_core.files.scratch import put, scratch_folder
from beft_core.tasks.own_prompts import OwnPrompt
from beft_core.tasks.own_table import Columns
from beft_core.tasks.sources.prompt_files import read_json
from beft_core.tasks.sources.records import csv_records, jsonl_records, tsv_records
from beft_core.tasks.sources.user_files import OwnTable, ScoredTable, load_files

ROWS = 5
"""Number of rows of a preview."""
MAX_COLUMNS = 200
MAX_HEAD = 64 * 2**20
"""Most bytes of the first rows."""
LABELS = re.compile(r"label|class|target|gold|sentiment|score|rating|category|y|is_.*", re.I)
"""Pattern of the names that columns of labels usually have."""
SECOND = re.compile(r".*(2|_b|pair|hypothesis|second|question2|answer).*", re.I)
"""Pattern of the names that columns of second texts usually have."""


@dataclass(frozen=True)
class Preview:
    """Columns and first rows of a table."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """First rows, every cell as text."""

    def guess(self) -> Columns:
        """Guess which column is probably what; the label by its name, else the one with the shortest cells."""
        width = {name: sum(len(row[i]) for row in self.rows) for i, name in enumerate(self.columns)}
        named = [name for name in self.columns if LABELS.fullmatch(name)]
        label = named[0] if named else min(self.columns, key=lambda name: (width[name], -self.columns.index(name)))
        rest = sorted((name for name in self.columns if name != label), key=lambda name: -width[name])
        texts = [name for name in rest if self.rows and width[name] >= 8 * len(self.rows)] or rest[:1]
        two = sorted(texts[:2], key=lambda name: (bool(SECOND.fullmatch(name)), self.columns.index(name)))
        if len(two) > 1 and SECOND.fullmatch(two[1]):
            return Columns(two[0], two[1], label)
        return Columns(next(iter(texts), label), None, label)  # alone, the longest: others are names or times


@dataclass(frozen=True)
class Checked:
    """Facts about a table as a task."""

    train: int
    evaluated: int
    """Number of examples that are held out for validation."""
    classes: tuple[tuple[str, int], ...] | None
    """Number of training examples of each class; None where the labels are numbers."""
    metric: str
    prompt: str | None = None
    """First prompt to train on, written out; None where a head answers."""


def preview(name: str, data: bytes) -> Preview:
    """Read columns and first rows. ``name``: of the uploaded file; only its ending is used, and it stands in messages.

    Raises:
        UserError: another kind of file, not readable, without columns or without rows.
    """
    with _on_disk(name, data) as path:
        columns, rows = _PREVIEWS[path.suffix](path)
        if not columns or len(columns) > MAX_COLUMNS:
            raise UserError(f"{path.name}: got {len(columns)} columns", f"2 to {MAX_COLUMNS}, named in the first row")
        if len(set(columns)) != len(columns) or not all(columns):
            twice = next((c for c, n in Counter(columns).items() if n > 1 or not c), "")
            raise UserError(
                f"{path.name}: got the column {twice!r} more than once or without a name", "different names"
            )
        if len(columns) < 2:
            raise UserError(
                f"{path.name}: got the one column {columns[0]!r}",
                "columns for text and label",
                "commas between columns (.csv) or tabs (.tsv)",
            )
        if not rows:
            raise UserError(f"{path.name}: got no rows", "a table with a row for each example")
        return Preview(tuple(columns), tuple(tuple(map(_cell, row)) for row in rows))


def check(name: str, data: bytes, columns: Columns, problem: str | None = None) -> Checked:
    """Read the whole table as a fine-tune would. ``problem``: see :func:`beft_core.tasks.own_table.encode`.

    Raises:
        UserError: as :func:`beft_core.tasks.sources.user_files.load_files`, with the row.
    """
    with _on_disk(name, data) as path:
        task = load_files(path, None, **asdict(columns), problem=problem)
    counts = task.spec.target.count(task.train.labels)
    return Checked(len(task.train), len(task.evals["validation"]), counts, task.spec.metrics[0])


def check_prompt(name: str, data: bytes, own: OwnPrompt) -> Checked:
    """Read the whole table as a fine-tune on a prompt over its columns would.

    Raises:
        UserError: as :meth:`beft_core.tasks.sources.user_files.OwnTable.load`, with the row.
    """
    with _on_disk(name, data) as path:
        candidates = own.candidates or None
        table = OwnTable(
            str(path),
            None,
            own.label,
            prompt=own.template,
            candidates=candidates,
            candidates_column=own.candidates_column,
        )
        task = table.load()
    counts = task.spec.target.count(task.train.labels)
    held = task.evals["validation"]
    return Checked(len(task.train), len(held), counts, task.spec.metrics[0], task.train.text[0])


def check_for(name: str, data: bytes, columns: Columns | None, task: str, head: Mapping[str, Any]) -> int:
    """Read the whole table as the evaluation of a snapshot's head, or of its prompt, would, and count its rows.

    ``columns``: None where a prompt names them.

    Raises:
        UserError: as :meth:`beft_core.tasks.sources.user_files.ScoredTable.load`, with the row.
    """
    with _on_disk(name, data) as path:
        scored = ScoredTable(str(path), **({} if columns is None else asdict(columns))).load(task, head)
    return len(scored.evals["validation"])


def stored_name(name: str, data: bytes) -> str:
    """Name under which an upload is kept: made of its content, with the ending of its kind."""
    return f"table-{hashlib.sha256(data).hexdigest()[:16]}{_suffix(name)}"


def store(name: str, data: bytes, folder: Path) -> Path:
    """Keep an upload; the same one again is the same file.

    Raises:
        UserError: another kind of file, or the folder cannot be written.
    """
    path = folder / stored_name(name, data)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {folder}: {error.strerror}", "a folder to write to", "BEFT_HOME") from None
    if not path.is_file() or path.stat().st_size != len(data):
        atomic_write(path, [data])
    return path


def stored(folder: Path) -> list[Path]:
    """List the tables that were kept, newest first."""
    found = [path for path in folder.glob("table-*") if _STORED.fullmatch(path.name) and path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


@contextmanager
def on_disk(name: str, data: bytes) -> Iterator[Path]:
    """Write the table to a temporary file, under the name that :func:`store` would give it."""
    with scratch_folder() as folder:
        yield put(folder / stored_name(name, data), data)


@contextmanager
def _on_disk(name: str, data: bytes) -> Iterator[Path]:
    """Write the table to a temporary file; messages bear the name that the user knows."""
    with on_disk(name, data) as path:
        try:
            yield path
        except UserError as error:
            shown = name[-80:]
            raise UserError(
                *(
                    part.replace(str(path), shown).replace(path.name, shown)
                    for part in (error.got, error.expected, error.try_)
                )
            ) from None


def _suffix(name: str) -> str:
    suffix = Path(name).suffix.lower()
    if suffix not in _PREVIEWS:
        raise UserError(
            f"got {name[-80:]!r}, whose name ends in {suffix or 'nothing'}",
            f"one of {', '.join(_PREVIEWS)}",
            "exporting the table as CSV",
        )
    return suffix


def _cell(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 300 else text[:299] + "…"


Head = tuple[list[str], list[list[Any]]]
"""Head of a table: (columns, first rows)."""


def _csv(path: Path) -> Head:
    return _head(path, csv_records(path))


def _tsv(path: Path) -> Head:
    return _head(path, tsv_records(path))


def _head(path: Path, records: Iterator[tuple[int, list[str]]]) -> Head:
    """Take the first rows; ragged ones are shown as they are, cut or filled; :func:`check` names them."""
    full = (cells for _, cells in records if any(cell.strip() for cell in cells) or len(cells) > 1)
    columns = [cell.strip() for cell in next(full, [])]
    if not columns:
        raise UserError(f"{path.name}: got an empty file", "a table with a header and rows")
    return columns, [(cells + [""] * len(columns))[: len(columns)] for cells in itertools.islice(full, ROWS)]


def _jsonl(path: Path) -> Head:
    return _of_objects([row for _, row in itertools.islice(jsonl_records(path), ROWS)])


def _json(path: Path) -> Head:
    rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows[:ROWS]):
        raise UserError(f"{path.name}: got no list of rows", "[{...}, ...], an object for each row")
    return _of_objects(rows[:ROWS])


def _of_objects(rows: list[dict[str, Any]]) -> Head:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return columns, [[row.get(name) for name in columns] for row in rows]


def _parquet(path: Path) -> Head:
    limits = parquet.Limits(rows=ROWS, bytes=MAX_HEAD, columns=MAX_COLUMNS)
    try:
        with parquet.opened(path, None, limits, head=ROWS) as (schema, batches):
            rows = [[row.get(name) for name in schema.names] for batch in batches for row in batch.to_pylist()]
    except parquet.MissingColumn as missing:
        return missing.columns, []  # one stands there twice, which the caller tells
    return list(schema.names), rows[:ROWS]


_PREVIEWS: dict[str, Callable[[Path], Head]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _jsonl,
    ".json": _json,
    ".parquet": _parquet,
}
KINDS: tuple[str, ...] = tuple(_PREVIEWS)
"""Endings of the names of files that can be read."""
_STORED = re.compile(rf"table-[0-9a-f]{{16}}({'|'.join(map(re.escape, KINDS))})")
