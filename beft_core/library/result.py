"""Results of the library and what each can do: show itself as text and in a notebook, become a pandas table, be
written.

HTML comes from a template that escapes every text: names in a snapshot may be a stranger's.
"""

from __future__ import annotations

import functools
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from beft_core.cli.output import number
from beft_core.errors import UserError
from beft_core.files.paths import user_path
from beft_core.files.safe_io import atomic_write

if TYPE_CHECKING:
    import pandas as pd

MAX_SHOWN = 40
"""Most rows that a result shows of itself; `to_pandas` has all."""


@dataclass(frozen=True)
class Shown:
    """Title, table and notes by which a result shows itself."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


class Result(ABC):
    """Base class of the library's results.

    Its repr is a table for a terminal, and notebooks show the same as HTML.
    """

    @abstractmethod
    def shown(self) -> Shown:
        """Give the title, the table and the notes by which the result shows itself."""

    @abstractmethod
    def to_pandas(self) -> pd.DataFrame:
        """Give the numbers of the result as a table."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the table of `to_pandas` as .csv, .parquet or .json, and return the file.

        Raises:
            UserError: another ending, or a file that cannot be written.
        """
        file = user_path(path, "the file")
        write = _WRITERS.get(file.suffix.lower())
        if write is None:
            raise UserError(f"got {file.name}", f"a name that ends in {', '.join(_WRITERS)}", f"{file.stem}.csv")
        atomic_write(file, [write(self.to_pandas())])
        return file

    def __repr__(self) -> str:
        about = self.shown()
        rows, more = _cut(about.rows)
        table = [list(about.head), *map(list, rows)]
        widths = [max(len(row[at]) for row in table) for at in range(len(about.head))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
        return "\n".join([about.title, *(f"  {line}".rstrip() for line in lines), *more, *about.notes])

    def _repr_html_(self) -> str:
        about = self.shown()
        rows, more = _cut(about.rows)
        return template("result.html").render(
            title=about.title, head=about.head, rows=rows, notes=[*more, *about.notes]
        )


def cell(value: Any) -> str:
    """Write a value of a table as a person reads it."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, float) else str(value)


def _cut(rows: Sequence[Sequence[str]]) -> tuple[Sequence[Sequence[str]], list[str]]:
    left = len(rows) - MAX_SHOWN
    return (rows[:MAX_SHOWN], [f"and {left} more: to_pandas() has all"]) if left > 0 else (rows, [])


def template(name: str) -> Template:
    """Open a template of this folder, which escapes every text."""
    return _environment().get_template(name)


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("beft_core.library"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _parquet(table: pd.DataFrame) -> bytes:
    held = io.BytesIO()
    table.to_parquet(held, index=False)
    return held.getvalue()


_WRITERS: dict[str, Callable[[pd.DataFrame], bytes]] = {
    ".csv": lambda table: table.to_csv(index=False, lineterminator="\n").encode(),
    ".parquet": _parquet,
    ".json": lambda table: table.to_json(orient="records", indent=1).encode(),
}
