"""Tables of the paper with our numbers in them: every cell holds both, or the reason why ours is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import pandas as pd

from beft_core.counted import unsigned_zero


@dataclass(frozen=True)
class Cell:
    """Cell of a table: our number and the paper's."""

    ours: float | None = None
    spread: float | None = None
    """Standard deviation over seeds (n - 1); None for one seed."""
    seeds: int = 0
    paper: float | None = None
    bold: bool = False
    """Whether the cell is the best of its block, by our numbers."""
    dagger: bool = False
    """Whether our probes select the cell's term by projection ratio."""
    reason: str = ""
    """Reason, in words, why there is no number of ours; empty where there is one."""
    lr: float | None = None
    """Learning rate of our number."""
    failed: int = 0
    """Number of fine-tunes of this cell, at any learning rate, that failed."""
    paper_spread: float | None = None
    paper_dagger: bool = False
    note: str = ""
    """Note on what else one must know of our number."""


@dataclass(frozen=True)
class Column:
    """Column of a table: what its cells are."""

    key: str
    label: str
    unit: str = "%"
    decimals: int = 1
    best: Literal["highest", "lowest", "none"] = "highest"
    """Rule of which number of a block is printed bold."""
    paper_decimals: int | None = None
    """Decimals of the paper's numbers, where the paper prints fewer."""


@dataclass(frozen=True)
class Row:
    """Row of a table: labels, one for each of the table's heads, and cells, one for each of its columns."""

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Table in the form of the paper."""

    key: str
    title: str
    heads: tuple[str, ...]
    """Names of the columns of labels."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    ours: str
    """Model and data of our numbers."""
    paper: str
    """Model, data and source of the paper's numbers; empty where the paper has none."""
    notes: tuple[str, ...] = ()

    @property
    def has_ours(self) -> bool:
        """Whether any cell holds a number of ours."""
        return any(cell.ours is not None for row in self.rows for cell in row.cells)

    @property
    def has_paper(self) -> bool:
        """Whether any cell holds a number of the paper."""
        return any(cell.paper is not None for row in self.rows for cell in row.cells)

    def frame(self) -> pd.DataFrame:
        """Make a tidy table of one row per cell: the heads, ``column``, ``unit``, all fields of `Cell`, ``ours_of`` and
        ``paper_of``.
        """
        names = [*self.heads, "column", "unit", *(field.name for field in fields(Cell)), "ours_of", "paper_of"]
        frame = pd.DataFrame(
            [
                dict(zip(self.heads, row.labels, strict=True))
                | {"column": column.key, "unit": column.unit}
                | asdict(cell)
                | {"ours_of": self.ours, "paper_of": self.paper if cell.paper is not None else ""}
                for row in self.rows
                for column, cell in zip(self.columns, row.cells, strict=True)
            ],
            columns=names,  # also of a table without a cell
        )
        # A column of None alone would be one of objects.
        return frame.astype(dict.fromkeys(("ours", "spread", "lr", "paper", "paper_spread"), float))


def mark_best(rows: Sequence[Row], columns: Sequence[Column], block: Callable[[Row], Any]) -> tuple[Row, ...]:
    """Return the rows with the best cell of each block and column bold; of cells that tie, all."""
    best: dict[tuple[Any, int], float] = {}
    signs = [{"highest": 1.0, "lowest": -1.0, "none": 0.0}[column.best] for column in columns]
    for row in rows:
        for at, (sign, cell) in enumerate(zip(signs, row.cells, strict=True)):
            if sign and cell.ours is not None:
                best[block(row), at] = max(best.get((block(row), at), -float("inf")), sign * cell.ours)
    return tuple(
        replace(
            row,
            cells=tuple(
                replace(cell, bold=cell.ours is not None and best.get((block(row), at)) == sign * cell.ours)
                for at, (sign, cell) in enumerate(zip(signs, row.cells, strict=True))
            ),
        )
        for row in rows
    )


def with_ours(table: Table) -> tuple[Table, tuple[str, ...]]:
    """Keep only the columns and rows that hold a number of ours, and name what was left out: columns by their labels,
    rows by the first of theirs. A table without any number of ours stays whole.
    """
    if not table.has_ours:
        return table, ()
    rows = [row for row in table.rows if any(cell.ours is not None for cell in row.cells)]
    columns = [at for at in range(len(table.columns)) if any(row.cells[at].ours is not None for row in rows)]
    shown = replace(
        table,
        columns=tuple(table.columns[at] for at in columns),
        rows=tuple(replace(row, cells=tuple(row.cells[at] for at in columns)) for row in rows),
    )
    kept = {row.labels[0] for row in rows}
    gone = [row.labels[0] for row in table.rows if row.labels[0] not in kept]
    gone += [column.label for column in table.columns if column not in shown.columns]
    return shown, tuple(dict.fromkeys(gone))


def number(value: float, column: Column) -> str:
    """Write a number of a column as it is printed."""
    return f"{unsigned_zero(value, column.decimals):,.{column.decimals}f}"


def ours_text(cell: Cell, column: Column) -> str:
    """Write our number as ``78.5 ± 1.0``, without the marks; empty where there is none."""
    if cell.ours is None:
        return ""
    spread = "" if cell.spread is None else f" ± {number(cell.spread, column)}"
    return number(cell.ours, column) + spread


def paper_text(cell: Cell, column: Column) -> str:
    """Write the paper's number as ``58.5 ± 1.9``, with its dagger; empty where the paper has none."""
    if cell.paper is None:
        return ""
    column = replace(column, decimals=column.decimals if column.paper_decimals is None else column.paper_decimals)
    spread = "" if cell.paper_spread is None else f" ± {number(cell.paper_spread, column)}"
    return number(cell.paper, column) + spread + ("†" if cell.paper_dagger else "")
