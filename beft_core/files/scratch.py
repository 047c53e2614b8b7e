"""Temporary copies of what somebody handed over as bytes, for readers that take paths. A full disk is one line."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from beft_core.errors import UserError
from beft_core.files.disk import NO_ROOM, NoRoom


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder that is there inside the block.

    Raises:
        UserError: there is no place for temporary files, or no room in it.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="beft-", ignore_cleanup_errors=True)
    except OSError as error:
        reason = NO_ROOM.get(error.errno or 0, error.strerror)
        raise UserError(
            f"cannot make a temporary folder: {reason}", "a folder for temporary files with room", "TMPDIR"
        ) from None
    with folder as name:
        yield Path(name)


def put(path: Path, data: bytes) -> Path:
    """Write a file into such a folder; returns its path.

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
