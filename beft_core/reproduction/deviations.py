"""Deviations of our numbers from the paper's: how far each is off, what may be chance, and where the order differs.

The paper gives a spread for Table 2 alone (1.9 to 2.9 points on RTE). Where a spread is not known it is taken as
:data:`UNKNOWN_SPREAD`. A metric deviates when it is off by more than two standard deviations of the difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from beft_core.reports.cells import Cell, Column, Row, Table, ours_text, paper_text
from beft_core.reports.tables import HERE
from beft_core.scores.approaches import PAPER

UNKNOWN_SPREAD = 2.0
"""Standard deviation over seeds, in points, that is taken for a number without one: about that of Table 2."""
TOLERANCES: dict[str, Callable[[float], float] | None] = {
    "parameters": None,
    "seconds": None,  # of another machine
    HERE: None,  # a mean that the paper does not print
    "share": lambda paper: max(0.005, 0.1 * paper),
    "cosine": lambda paper: 0.1,
    "angle": lambda paper: 6.0,
    PAPER: lambda paper: max(0.02, 0.25 * paper),
    "magnitude_mean_abs": lambda paper: max(0.002, 0.25 * paper),
}
"""How far a number of a column may be off, from the paper's number; None: it is not compared. Other columns are metrics
in percent."""
HIGHER, LOWER, SAME = "↑", "↓", "≈"
RULE = (
    f"{HIGHER} and {LOWER}: off by more than two standard deviations of the difference, over seeds; where a spread is "
    f"not known, {UNKNOWN_SPREAD:g} points are taken, about that of Table 2. {SAME}: within that."
)
"""Sentence on what the marks mean."""


@dataclass(frozen=True)
class Deviation:
    """Difference of one number of ours from the paper's."""

    by: float
    """Ours minus the paper's, in the unit of the column."""
    tolerance: float

    @property
    def is_outside(self) -> bool:
        return abs(self.by) > self.tolerance

    @property
    def mark(self) -> str:
        """Write it as a sign."""
        return SAME if not self.is_outside else HIGHER if self.by > 0 else LOWER


def deviation(cell: Cell, column: Column) -> Deviation | None:
    """Compare a cell's two numbers; None where one is missing, or they are of different machines."""
    if cell.ours is None or cell.paper is None:
        return None
    if column.key in TOLERANCES:
        rule = TOLERANCES[column.key]
        return None if rule is None else Deviation(cell.ours - cell.paper, rule(cell.paper))
    spreads = [UNKNOWN_SPREAD if spread is None else spread for spread in (cell.spread, cell.paper_spread)]
    return Deviation(cell.ours - cell.paper, 2 * math.hypot(*spreads))


@dataclass(frozen=True)
class Compared:
    """Counts of what agrees in some tables."""

    numbers: int = 0
    """Numbers that both have."""
    outside: int = 0
    """Those of them that deviate."""
    of_paper: int = 0
    """Numbers that the paper has."""
    contests: int = 0
    """Blocks of one column in which both have the same rows, two or more, and one best."""
    same_best: int = 0
    """Those of them with the same best row."""

    def __add__(self, other: Compared) -> Compared:
        return Compared(
            self.numbers + other.numbers,
            self.outside + other.outside,
            self.of_paper + other.of_paper,
            self.contests + other.contests,
            self.same_best + other.same_best,
        )

    def in_words(self) -> str:
        """Write the counts as a sentence."""
        if not self.numbers:
            return f"None of the paper's {self.of_paper:,} numbers was measured."
        text = (
            f"{self.numbers:,} of the paper's {self.of_paper:,} numbers were measured; {self.numbers - self.outside:,} "
            f"agree, {self.outside:,} deviate."
        )
        if self.contests:
            text += f" What is best is the same in {self.same_best:,} of {self.contests:,} comparisons."
        return text


def compared(tables: Iterable[Table]) -> Compared:
    """Count what agrees in some tables."""
    total = Compared()
    for table in tables:
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                found = deviation(cell, column)
                if column.key in TOLERANCES and TOLERANCES[column.key] is None:
                    continue
                outside = found is not None and found.is_outside
                total += Compared(int(found is not None), int(outside), int(cell.paper is not None))
        for ours, theirs in _contests(table):
            total += Compared(contests=1, same_best=int(ours == theirs))
    return total


def _contests(table: Table) -> list[tuple[str, str]]:
    """List (our best row, the paper's) of every block and column where both have the same rows and one best."""
    found = []
    blocks: dict[tuple[str, ...], list[Row]] = {}
    for row in table.rows:
        blocks.setdefault(row.labels[:-1], []).append(row)
    for rows in blocks.values():
        for at, column in enumerate(table.columns):
            if column.best != "highest" or column.key in TOLERANCES:
                continue
            both = [(row.labels[-1], cell.ours, cell.paper) for row in rows if (cell := row.cells[at]).ours is not None]
            pairs = [(name, ours, paper) for name, ours, paper in both if ours is not None and paper is not None]
            best = [_alone_best([(name, pair[place]) for name, *pair in pairs]) for place in (0, 1)]
            if len(pairs) > 1 and None not in best:
                found.append((str(best[0]), str(best[1])))
    return found


def _alone_best(values: list[tuple[str, float]]) -> str | None:
    most = max((value for _, value in values), default=None)
    names = [name for name, value in values if value == most]
    return names[0] if len(names) == 1 else None


def frame(table: Table) -> pd.DataFrame:
    """Make a tidy table of one row per cell, as ``Table.frame``, with ``off_by``, ``tolerance`` and ``deviates``."""
    cells = [pair for row in table.rows for pair in zip(row.cells, table.columns, strict=True)]
    found = [deviation(cell, column) for cell, column in cells]
    return table.frame().assign(
        off_by=pd.Series([None if one is None else one.by for one in found], dtype=float),
        tolerance=pd.Series([None if one is None else one.tolerance for one in found], dtype=float),
        deviates=pd.Series([None if one is None else one.is_outside for one in found], dtype="boolean"),
    )


def cell_text(cell: Cell, column: Column) -> str:
    """Write a cell for a terminal: ``80.0 ± 1.0† ↓ (85.8†)``; empty where neither has a number."""
    ours = f"{ours_text(cell, column)}{'†' * cell.dagger}" if cell.ours is not None else "–"
    if cell.paper is None:
        return ours if cell.ours is not None else ""
    found = deviation(cell, column)
    return f"{ours}{f' {found.mark}' if found else ''} ({paper_text(cell, column)})"
