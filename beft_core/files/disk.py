"""Handling of a full disk: reported with how much is missing and where, and waited for where hours of work are at
stake.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from beft_core.environment import number
from beft_core.errors import UserError

NO_ROOM: dict[int, str] = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your share of the disk (quota) is used up",
    errno.EFBIG: "no file may become that large here (ulimit -f, or the file system's limit)",
}
"""Meaning, for whoever wants to write, of the system's error numbers."""
PASSING: frozenset[int] = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Error numbers of a lack that ends as soon as something is deleted."""
WAIT_SECONDS = 600.0
"""Seconds that a result which took long waits for room, unless ``BEFT_WAIT_FOR_ROOM`` says otherwise."""
RETRY_SECONDS = 2.0
"""Seconds between two attempts to write while the disk is full."""

NEARLY_FULL = 2**20
"""Free bytes below which a disk counts as nearly full. File systems keep some for themselves, and a state is replaced
by writing the new one first.
"""

_T = TypeVar("_T")


class NoRoom(UserError):
    """Error of a file that did not fit. Whatever stood under its name before is still there."""

    def __init__(self, path: Path, needed: int, number: int) -> None:
        """Make the error. ``needed``: bytes of the whole file. ``number``: a key of :data:`NO_ROOM`."""
        self.number = number
        self._about = path, needed, number
        folder = path.absolute().parent
        self._way = (
            f"deleting what is no longer needed on the disk of {folder}"
            if number in PASSING
            else "another folder or a larger limit"
        )
        free = free_bytes(folder)
        there = f" ({size(free)} free)" if free is not None and number in PASSING else ""
        super().__init__(
            f"cannot write {path}: {NO_ROOM[number]}{there}",
            f"room for {size(needed)}",
            f"{self._way}, then the same again",
        )

    def make_room(self) -> str:
        """Say what to do first, to go before "then"."""
        return f"Try {self._way}"

    def __reduce__(self) -> tuple[type[NoRoom], tuple[Path, int, int]]:  # type: ignore[override]
        return (NoRoom, self._about)


def free_bytes(folder: Path) -> int | None:
    """Count the bytes that this user may still write in a folder; None where the system does not say."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def shortage(folder: Path) -> str | None:
    """Say how much is free, where that is too little for the small files in which the lab keeps its state."""
    free = free_bytes(folder)
    return size(free) if free is not None and free < NEARLY_FULL else None


def size(count: int) -> str:
    """Write a number of bytes as ``350 bytes``, ``12.3 kB`` or ``1.5 GB``."""
    if count < 1000:
        return f"{count} bytes"
    units = {"kB": 1e3, "MB": 1e6, "GB": 1e9}
    unit = next((unit for unit, one in units.items() if count < 999.95 * one), "GB")
    return f"{count / units[unit]:.1f} {unit}"


def with_room(
    write: Callable[[], _T],
    tell: Callable[[str], None],
    give_up: Callable[[], bool] = lambda: False,
    *,
    seconds: float | None = None,
) -> _T:
    """Do ``write``; where the disk is full, say so once and try again until there is room.

    ``write`` must be repeatable: writing files anew is. ``give_up`` is asked before every further try; ``seconds`` is
    how long to wait altogether, None: :data:`WAIT_SECONDS` or ``BEFT_WAIT_FOR_ROOM``.

    Raises:
        NoRoom: there was no room in time, or waiting cannot help.
    """
    began: float | None = None
    while True:
        try:
            return write()
        except NoRoom as error:
            limit = number("BEFT_WAIT_FOR_ROOM", WAIT_SECONDS) if seconds is None else seconds
            now = time.monotonic()
            if began is None:
                began = now
                if error.number in PASSING and limit > 0:
                    tell(f"{error}; waiting up to {limit:.0f} seconds for room")
            if error.number not in PASSING or now - began >= limit or give_up():
                raise
        time.sleep(min(RETRY_SECONDS, limit))
