"""Removal of the temporary files of writers that were killed: known by a lock that dies with its holder, and removed.

A writer locks its temporary file before the first byte. Whoever can take the lock of a file that has bytes therefore
knows that its writer is gone, whatever numbers processes have, in other containers too. Over NFS or Lustre a lock may
be seen on its own machine only, so the name says on which machine a file is written: that of another goes once it is
old.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from beft_core.process_id import boot_id, host_name

try:
    import fcntl
except ImportError:  # Windows, where a file that somebody writes cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

EMPTY_SECONDS = 60.0
"""Age in seconds until which a file without a byte may be one whose writer is about to lock it."""

FOREIGN_SECONDS = 86_400.0
"""Age in seconds from which a file of another machine, or of this one before it was started anew, counts as left: by
the clocks of two machines, which may differ, and longer than anything is written.
"""

_NAME = re.compile(r"\..+\.(?:([0-9a-f]{8})-)?\d+\.[0-9a-f]{8}\.tmp")
"""Pattern of names; the machine is missing in those of earlier versions."""
_swept: set[tuple[int, Path]] = set()
"""Pairs (process, folder) of what was looked through already."""


def temporary(path: Path) -> Path:
    """Make a new name beside a file, under which it is written before it gets its own."""
    return path.with_name(f".{path.name}.{_machine()}-{os.getpid()}.{secrets.token_hex(4)}.tmp")


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
            if (name := _NAME.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    if _abandoned(entry.path, is_ours=name[1] == _machine()):
                        Path(entry.path).unlink()
                        removed.append(entry.name)
    return removed


def remove_leftovers_once(folder: Path) -> None:
    """Remove leftovers the first time that this process writes into a folder."""
    key = os.getpid(), folder.absolute()
    if key not in _swept:
        _swept.add(key)
        remove_leftovers(folder)


@cache
def _machine() -> str:
    """Name this machine since its start, among whose processes a lock is seen, by 8 hexadecimal digits."""
    return hashlib.sha256((boot_id() or host_name()).encode()).hexdigest()[:8]


def _abandoned(path: str, is_ours: bool) -> bool:
    """Whether the writer of a temporary file is gone. ``is_ours``: it was, or is, a process of this machine.

    Raises OSError where that cannot be found out.
    """
    if fcntl is None:
        return True
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(descriptor)
        age = time.time() - status.st_mtime
        return age > FOREIGN_SECONDS or (is_ours and (status.st_size > 0 or age > EMPTY_SECONDS))
    finally:
        os.close(descriptor)
