"""Temporary files and folders, such as copies of uploads for readers that take paths, and folders that get their name
once they are whole. A full disk is one line.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from beft_core.errors import UserError
from beft_core.files.disk import NO_ROOM, NoRoom, free_bytes
from beft_core.files.safe_io import sync_folder


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a new folder that is there inside the block.

    Raises:
        UserError: there is no place for temporary files, or no room in it.
    """
    with _telling("make a temporary folder"):
        folder = tempfile.TemporaryDirectory(prefix="beft-", ignore_cleanup_errors=True)
    with folder as name:
        yield Path(name)


@contextmanager
def whole_folder(target: Path, needed: int) -> Iterator[Path]:
    """Make a new folder to be filled inside the block, which is called ``target`` afterwards: it is there whole or not
    at all. What is there must be an empty folder (:func:`beft_core.files.paths.free_folder`).

    ``needed``: bytes that will be written; where the disk has fewer, that is said before the first of them.

    Raises:
        UserError: the folder that ``target`` is to be in does not exist, or ``target`` cannot be written.
        NoRoom: the disk is full.
    """
    beside = target.absolute().parent
    if not beside.is_dir():
        raise UserError(f"got {target}, but there is no folder {beside}", "a new folder in one that exists")
    if needed > (free_bytes(beside) or needed):
        raise NoRoom(target, needed, errno.ENOSPC)
    try:
        with tempfile.TemporaryDirectory(
            dir=beside, prefix=f".{target.name[:80]}-", ignore_cleanup_errors=True
        ) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            yield made
            if target.exists():
                target.rmdir()  # it is empty
            made.rename(target)
            sync_folder(beside)
    except NoRoom as error:
        raise NoRoom(target, needed, error.number) from None
    except OSError as error:
        if error.errno in NO_ROOM:
            raise NoRoom(target, needed, error.errno) from None
        raise UserError(f"cannot write {target}: {error.strerror or error}", "a folder that can be written") from None


def scratch_file() -> IO[bytes]:
    """Make a new file without a name, to be written and read; it is gone once it is closed.

    Raises:
        UserError: as :func:`scratch_folder`.
    """
    with _telling("make a temporary file"):
        return tempfile.TemporaryFile(prefix="beft-")


def no_room(did: str, error: OSError) -> UserError:
    """Make the error that says that ``did`` ("write a temporary file") failed with an error of the system."""
    reason = NO_ROOM.get(error.errno or 0, error.strerror)
    return UserError(f"cannot {did}: {reason}", "a folder for temporary files with room", "TMPDIR")


@contextmanager
def _telling(did: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise no_room(did, error) from None


def put(path: Path, data: bytes) -> Path:
    """Write a file into a temporary folder; return its path.

    Raises:
        NoRoom: it does not fit.
        UserError: it cannot be written for another reason.
    """
    try:
        path.write_bytes(data)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise NoRoom(path, len(data), error.errno) from None
        raise UserError(
            f"cannot write a temporary file: {error.strerror}",
            "a folder for temporary files that can be written",
            "TMPDIR",
        ) from None
    return path
