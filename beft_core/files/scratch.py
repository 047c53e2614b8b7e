"""Temporary files and folders, such as copies of uploads for readers that take paths. A full disk is one line."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from beft_core.errors import UserError
from beft_core.files.disk import NO_ROOM, NoRoom


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
