"""Lines of a text file with their numbers, so that every complaint about a file can name its row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from beft_core.errors import UserError

MAX_LINE = 16 * 2**20
"""Bytes in one line; more is no table."""


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines (numbered from 1, without their ends) of a UTF-8 file; a byte-order mark is dropped.

    Lines end at a newline only: characters such as U+2028 stand inside real texts. Raises UserError with the
    row for other encodings, binary data and endless lines.
    """
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(MAX_LINE + 1):
            number += 1
            where = f"{path.name}, row {number}"
            if len(raw) > MAX_LINE:
                raise UserError(f"{where}: got a line of more than {MAX_LINE} bytes", "one example per line")
            if b"\0" in raw:
                raise UserError(f"{where}: got a zero byte", "text in UTF-8, not binary data")
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{where}: got bytes that are not UTF-8 ({error.reason} at byte {error.start})",
                    "text in UTF-8",
                    f"iconv -t UTF-8 {path.name}",
                ) from None
            yield number, line.rstrip("\r\n")
