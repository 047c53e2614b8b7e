"""Tables and lines as wide as the terminal: cells are folded and columns moved below, and nothing is ever cut.

The width is ``COLUMNS``, else that of the terminal. Into a file or a pipe without ``COLUMNS``, lines are as long as
they need to be.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells

INDENT, GAP = 2, 2
"""Number of spaces before a table and between its columns."""
RANK = "#"
"""Heading of a column of ranks, which stays beside the column that it ranks."""
MIN_WIDTH = 40
"""Least width of a line in columns; narrower terminals get lines of this width."""
MIN_TEXT, LEAST_TEXT = 12, 4
"""Least widths to which a column of words is folded; the second only where columns stand below each other already."""


def width() -> int | None:
    """Get the number of columns that stdout has; None where nothing bounds a line."""
    named = os.environ.get("COLUMNS", "")
    if not (named.isdigit() and int(named)) and not sys.stdout.isatty():
        return None
    return max(MIN_WIDTH, shutil.get_terminal_size().columns)


def wrapped(line: str) -> list[str]:
    """Wrap a line between words where it is wider than the terminal; a path or a command stays whole."""
    limit = width()
    if limit is None or cell_len(line) <= limit:
        return [line]
    return textwrap.wrap(line, limit, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


@dataclass(frozen=True)
class _Column:
    """Column of texts."""

    head: str
    cells: tuple[str, ...]

    @property
    def is_number(self) -> bool:
        """Whether every cell reads like a number; such columns stand to the right and stay whole."""
        return bool(self.cells) and all(cell[:1].isdigit() or cell[:1] in ("", "-", "–") for cell in self.cells)

    @property
    def natural(self) -> int:
        """Width at which nothing is folded."""
        return max(map(cell_len, (self.head, *self.cells)))

    @property
    def least(self) -> int:
        """Width below which the column would not be read: numbers stay whole, of other cells the longest word of some
        size.
        """
        head = max(map(cell_len, self.head.split()), default=0)
        if self.is_number:
            return max(head, *map(cell_len, self.cells))
        words = (cell_len(word) for cell in self.cells for word in cell.split())
        return min(self.natural, max(head, MIN_TEXT, min(max(words, default=0), 2 * MIN_TEXT)))


def table(head: Sequence[str], rows: Sequence[Sequence[str]], limit: int | None, keys: int = 1) -> list[str]:
    """Lay a table out in lines of at most ``limit`` columns.

    Args:
        head: name of each column.
        rows: cells of each row.
        limit: None: as wide as it comes.
        keys: how many columns at the left say what a row is; they are repeated where others move below.
    """
    columns = [_Column(name, tuple(row[at] for row in rows)) for at, name in enumerate(head)]
    room = None if limit is None else limit - INDENT
    lines: list[str] = []
    for block in _blocks(columns, room, keys):
        lines += ["", *_block(block, _widths(block, room))]
    return lines


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _blocks(columns: list[_Column], room: int | None, keys: int) -> list[list[_Column]]:
    """Split columns into blocks that stand beside each other; one where all have room."""
    fixed, rest = columns[:keys], columns[keys:]
    if room is None or _total([one.least for one in columns]) <= room:
        return [columns]
    together: list[list[_Column]] = []
    for column in rest:
        if column.head == RANK and together:
            together[-1].append(column)
        else:
            together.append([column])
    blocks: list[list[_Column]] = [[*fixed]]
    for some in together:
        if len(blocks[-1]) > keys and _total([one.least for one in (*blocks[-1], *some)]) > room:
            blocks.append([*fixed])
        blocks[-1] += some
    return blocks


def _widths(columns: Sequence[_Column], room: int | None) -> list[int]:
    """Compute the widths of columns: what each needs at least, and what is left to those that want it, the modest ones
    first.
    """
    widths = [one.natural if room is None else one.least for one in columns]
    folded = [at for at, one in enumerate(columns) if not one.is_number]
    while room is not None and folded and _total(widths) > room:  # a block of one column and long words
        widest = max(folded, key=lambda at: widths[at])
        if widths[widest] <= LEAST_TEXT:
            break
        widths[widest] -= 1
    left = 0 if room is None else room - _total(widths)
    wanting = sorted(range(len(columns)), key=lambda at: columns[at].natural - widths[at])
    for place, at in enumerate(wanting):
        more = min(columns[at].natural - widths[at], max(0, left) // (len(wanting) - place))
        widths[at] += more
        left -= more
    return widths


def _block(columns: Sequence[_Column], widths: Sequence[int]) -> list[str]:
    rows = zip(*(column.cells for column in columns), strict=True)
    lines = _row([column.head for column in columns], columns, widths)
    lines.append(" " * (INDENT - 1) + "─" * (_total(widths) + 1))
    for row in rows:
        lines += _row(row, columns, widths)
    return lines


def _row(cells: Sequence[str], columns: Sequence[_Column], widths: Sequence[int]) -> list[str]:
    folded = [_fold(cell, wide) for cell, wide in zip(cells, widths, strict=True)]
    lines = []
    for at in range(max(map(len, folded))):
        parts = []
        for texts, column, wide in zip(folded, columns, widths, strict=True):
            text = texts[at] if at < len(texts) else ""
            pad = " " * (wide - cell_len(text))
            parts.append(pad + text if column.is_number else text + pad)
        lines.append((" " * INDENT + (" " * GAP).join(parts)).rstrip())
    return lines


def _fold(text: str, wide: int) -> list[str]:
    """Fold a cell to lines of a width, broken between words, and within one that is longer than that."""
    lines = [""]
    for word in text.split(" ") if cell_len(text) > wide else [text]:
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(joined) <= wide:
            lines[-1] = joined
        else:
            parts = chop_cells(word, wide) or [""]
            lines = [*lines, *parts] if lines[-1] else [*lines[:-1], *parts]
    return lines
