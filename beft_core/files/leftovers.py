"""Removal of the temporary files of writers that were killed: known by a lock that dies with its holder, and removed.

A writer locks its temporary file before the first byte. Whoever can take the lock of a file that has bytes therefore
knows that its writer is gone, whatever numbers processes have, on other machines and in other containers too.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows, where a file that somebody writes cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

EMPTY_SECONDS = 60.0
"""Age in seconds until which a file without a byte may be one whose writer is about to lock it."""

_NAME = re.compile(r"\..+\.\d+\.[0-9a-f]{8}\.tmp")
_swept: set[tuple[int, Path]] = set()
"""Pairs (process, folder) of what was looked through already."""


def temporary(path: Path) -> Path:
    """Make a new name beside a file, under which it is written before it gets its own."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")


@contextmanager
def being_written(file: IO[Any]) -> Iterator[None]:
    """Mark a temporary file as being written, also after it was closed. Without effect where files have no locks."""
    if fcntl is None:
        yield
        return
    descriptor = os.dup(file.fileno())
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> list[str]:
    """Remove the temporary files in a folder whose writers are gone; returns their names. Never raises OSError."""
    removed = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    if _abandoned(entry.path):
                        Path(entry.path).unlink()
                        removed.append(entry.name)
    return removed


def remove_leftovers_once(folder: Path) -> None:
    """Remove leftovers the first time that this process writes into a folder."""
    key = os.getpid(), folder.absolute()
    if key not in _swept:
        _swept.add(key)
        remove_leftovers(folder)


def _abandoned(path: str) -> bool:
    """Whether the writer of a temporary file is gone. Raises OSError where that cannot be found out."""
    if fcntl is None:
        return True
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(descriptor)
        return status.st_size > 0 or time.time() - status.st_mtime > EMPTY_SECONDS
    finally:
        os.close(descriptor)
