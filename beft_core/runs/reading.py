"""Bounded reads of what a worker writes while others look: its measurements and its log."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.files.plain_file import open_plain
from beft_core.runs.record import METRICS_BYTES, record_of

READ_BYTES = 4 * 2**20
"""Most bytes of measurements that one read returns; the rest comes with the next."""
READ_LINES, MAX_STRANGE = 80_000, 1000
"""Most lines that one read may hold, and most of them that may be no records, before the rest of them is skipped: a run
writes a hundred bytes a line."""
LOG_BYTES = 2**16
"""Number of bytes at the end of a log that are looked at."""

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def read_records(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Read records (one JSON object a line) from a byte offset on; return them and the offset to go on from.

    A last line that is still being written waits for the next call; lines that a crash left half-written or that
    a run does not write are skipped (:mod:`beft_core.runs.damage` tells of them). A file that has become shorter is
    read from its start, and none further than ``METRICS_BYTES`` and ``READ_LINES`` allow. One that cannot be read has
    no records.
    """
    try:
        with open_plain(path, follow=False) as file:
            size = min(os.fstat(file.fileno()).st_size, METRICS_BYTES)
            offset = offset if 0 <= offset <= size else 0
            file.seek(offset)
            room = min(READ_BYTES, METRICS_BYTES - offset)
            block = file.read(room)
    except (OSError, UserError):
        return [], 0
    complete = block[: block.rfind(b"\n") + 1]
    if not complete and len(block) == room:
        complete = block  # no record of ours is that long: skip it
    records, strange = [], 0
    for line in list(filter(None, complete.splitlines()))[:READ_LINES]:
        try:
            records.append(record_of(line))
        except UserError:
            strange += 1
            if strange == MAX_STRANGE:
                break
    return records, offset + len(complete)


def last_lines(path: Path, lines: int) -> list[str]:
    """Read the last lines of a log, without terminal colours and overwritten progress bars; none where it is gone."""
    try:
        with open_plain(path, follow=False) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_BYTES))
            text = file.read(LOG_BYTES).decode("utf-8", "replace")
    except (OSError, UserError):
        return []
    kept = [_ANSI.sub("", line.rsplit("\r", 1)[-1]).rstrip() for line in text.split("\n")]
    return [line for line in kept if line][-lines:]
