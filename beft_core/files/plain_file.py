"""Opener of files whose folder anybody may have written to: only regular ones, and never so that opening them waits.

Opening a pipe waits for its other end, for ever; a device may never end; a link leads out of the folder.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

from beft_core.errors import UserError

_FLAGS: dict[str, int] = {
    "rb": os.O_RDONLY,
    "ab": os.O_WRONLY | os.O_APPEND | os.O_CREAT,
}
_ALWAYS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_KINDS: dict[int, str] = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def open_plain(path: Path, mode: str = "rb", *, what: str = "a regular file", follow: bool = True) -> IO[bytes]:
    """Open a regular file.

    Args:
        path: the file.
        mode: ``rb``, or ``ab`` to append to it, where it is created if it is missing.
        what: words for what was expected.
        follow: whether the path may be a link; where it may not, one is refused like a device.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is not a regular file, or may not be opened.
    """
    verb = "read" if mode == "rb" else "write"
    try:
        descriptor = os.open(path, _FLAGS[mode] | _ALWAYS | (0 if follow else getattr(os, "O_NOFOLLOW", 0)), 0o666)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UserError(f"cannot {verb} {path}: {_reason(path, error)}", what) from None
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise UserError(f"cannot {verb} {path}: {_KINDS.get(kind, 'not a regular file')}", what)
    return os.fdopen(descriptor, mode)


def _reason(path: Path, error: OSError | ValueError) -> str:
    """Say why a file cannot be opened; the system has one code for too many links and for a link that is not
    followed.
    """
    if isinstance(error, OSError) and error.errno in (errno.ELOOP, errno.EMLINK) and path.is_symlink():
        return "a link"
    if isinstance(error, OSError) and error.errno in (errno.ENXIO, errno.ENODEV):
        return "a pipe or socket"
    return getattr(error, "strerror", None) or str(error)
