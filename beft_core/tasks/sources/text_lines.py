"""Reader of the lines of a text file with their numbers, so that every complaint about a file can name its row."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from beft_core.errors import UserError
from beft_core.files.plain_file import open_plain

MAX_FILE = 512 * 2**20
"""Most bytes of a file: the longest of GLUE have some hundred million."""
MAX_LINE = 2**20
"""Most bytes of one line; more is no table."""
MAX_LINES = 1_500_000
"""Most lines of a file, blank ones included."""


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Read lines (numbered from 1, without their ends) of a UTF-8 file; a byte-order mark is dropped.

    Lines end at a newline only: characters such as U+2028 stand inside real texts. Raises UserError for what is no
    regular file, is too large or cannot be read, and with the row for other encodings, binary data and endless lines.
    """
    try:
        with open_plain(path, what="a text file") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE:
                raise UserError(f"{path.name}: got {size / 1024**3:.1f} GB", f"at most {MAX_FILE // 2**20} MB")
            number = 0
            while raw := file.readline(MAX_LINE + 1):
                number += 1
                where = f"{path.name}, row {number}"
                if len(raw) > MAX_LINE:
                    raise UserError(f"{where}: got a line of more than {MAX_LINE} bytes", "one example per line")
                if number > MAX_LINES:
                    raise UserError(f"{path.name}: got more than {MAX_LINES:,} lines", "fewer")
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
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "a readable text file") from None
