"""Locks with one holder at a time, of a run, a sweep's folder or a checkpoint; whoever comes second learns who has it.

The lock belongs to the operating system, which frees it when its holder dies, however that happens. Who holds it stands
in a file beside the lock: it is written by the holder only, and counts only while the lock is taken.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep, time

from filelock import FileLock, Timeout

from beft_core.errors import UserError
from beft_core.files.json_shape import Number, Table, Text, check
from beft_core.files.safe_io import atomic_write, parse_json, read_bounded

NOTE_SECONDS = 3.0
"""Seconds to wait for the note of somebody who has taken a lock: a busy disk takes its time to keep it."""
LOOK_SECONDS = 0.2
"""Seconds for which everybody waits for a lock at least: whoever looks for its holder takes it for a moment."""
_NOTE_BYTES = 4096
_NOTE = Table({"pid": Number(1, 2**31 - 1, whole=True), "since": Number(0, 8e9), "host": Text()})


@dataclass(frozen=True)
class Holder:
    """Process that holds a lock."""

    pid: int
    since: float
    """Time, in Unix seconds, since which the process holds the lock."""
    host: str

    def __str__(self) -> str:
        elsewhere = f" on {self.host}" if self.host != platform.node() else ""
        return f"process {self.pid}{elsewhere}, since {datetime.fromtimestamp(self.since):%Y-%m-%d %H:%M:%S}"


@contextmanager
def hold(path: Path, what: str, try_: str = "", wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold `path`, which need not exist, alone inside the block; its folder gets ``.NAME.lock`` and ``.NAME.holder``.

    Args:
        path: what is held. Only its name and its folder matter; the folder must exist.
        what: in words for the message, such as "the checkpoint run.safetensors".
        try_: what to do where somebody else holds it.
        wait_seconds: how long to wait for it first.

    Raises:
        UserError: somebody else holds it (the message says who and since when), or the folder cannot be written.
    """
    lock = FileLock(_lock_file(path), timeout=max(wait_seconds, LOOK_SECONDS), thread_local=False)
    note = _note_file(path)
    try:
        path.parent.stat()  # the library would make the folder
        lock.acquire()
    except Timeout:
        raise UserError(f"{what} is in use by {_named(path)}", "one at a time", try_) from None
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot lock {what} in {path.parent}: {reason}", "a folder to write to") from None
    try:
        atomic_write(note, [json.dumps(asdict(Holder(os.getpid(), time(), platform.node()))).encode()])
        yield
    finally:
        # Before the lock: after it, this could be the note of the next holder.
        note.unlink(missing_ok=True)
        lock.release()


def holder(path: Path) -> Holder | None:
    """Find who holds `path`; None where nobody does, or where the holder left no readable note."""
    note = _note(path)
    if note is None:
        return None
    try:
        with FileLock(_lock_file(path), timeout=0, thread_local=False):
            return None  # a note of somebody who died
    except Timeout:
        return note
    except (OSError, NotImplementedError):
        return None


def _named(path: Path) -> str:
    deadline = monotonic() + NOTE_SECONDS
    while (note := _note(path)) is None and monotonic() < deadline:
        sleep(0.02)  # he has just got it
    return str(note or "another process")


def _note(path: Path) -> Holder | None:
    try:
        table = parse_json(read_bounded(_note_file(path), _NOTE_BYTES, follow=False), "the holder of a lock")
        check(table, _NOTE, "the holder of a lock")
    except UserError:
        return None
    return Holder(**table)


def _lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _note_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.holder")
