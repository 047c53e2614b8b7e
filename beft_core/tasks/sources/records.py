"""Readers of tables as text files: comma-separated, tab-separated, or one JSON object per line. Each is bounded.

A record is (number of the line where it begins, its cells). What is no record raises a UserError with that number.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.tasks.sources.text_lines import numbered_lines

MAX_CELLS = 10_000
"""Most cells of one row."""
MAX_ROW = 2**20
"""Most characters of one row; a quoted text may go over many lines."""
MAX_NESTED = 5_000_000
"""Most lists and objects of a JSONL file: each takes the reader more time than the text that it is written in."""


def csv_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Read rows of comma-separated values, closed quotation marks required."""
    held = 0

    def lines() -> Iterator[str]:
        nonlocal held
        for number, line in numbered_lines(path):
            held += len(line)
            if held > MAX_ROW:
                raise UserError(
                    f"{path.name}, row {number}: got a row of more than {MAX_ROW:,} characters",
                    "comma-separated values with closed quotation marks",
                )
            yield f"{line}\n"

    reader = csv.reader(lines(), strict=True)
    while True:
        first, held = reader.line_num + 1, 0
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(
                f"{path.name}, row {first}: got a broken row ({error})",
                "comma-separated values with closed quotation marks",
            ) from None
        yield first, _bounded(path, first, cells)


def tsv_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Read rows between tabs. As in GLUE's files nothing is quoted: a quotation mark in a text must not swallow
    rows.
    """
    for number, line in numbered_lines(path):
        yield number, _bounded(path, number, line.split("\t"))


def jsonl_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read objects, one per line; blank lines are skipped."""
    nested = 0
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        nested += line.count("{") + line.count("[")
        if nested > MAX_NESTED:
            raise UserError(f"{path.name}, row {number}: got more than {MAX_NESTED:,} lists and objects", "fewer")
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # ValueError: not JSON, or a number of thousands of digits
            row = None
        if not isinstance(row, dict):
            raise UserError(f"{path.name}, row {number}: got no JSON object", "one object in each line")
        yield number, row


def _bounded(path: Path, number: int, cells: list[str]) -> list[str]:
    if len(cells) > MAX_CELLS:
        raise UserError(f"{path.name}, row {number}: got {len(cells):,} columns", f"at most {MAX_CELLS:,}")
    return cells
