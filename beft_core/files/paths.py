"""Reading of paths that somebody typed or put into a link: one function turns them into a `Path` that can be asked
anything.

Python answers a home of nobody with a RuntimeError, a name of 300 characters with an OSError and a zero byte, depending
on the question, with a ValueError or with "does not exist". Whoever has a path from here meets none of these.
"""

from __future__ import annotations

import os
from pathlib import Path

from beft_core.errors import UserError

LONGEST_NAME = 255
"""Most bytes in one part of a path: what the file systems in use have."""
LONGEST_PATH = 4096
"""Most bytes of a path as a whole: Linux's limit, and above those of others."""


def user_path(text: str | os.PathLike[str], what: str = "the path") -> Path:
    """Read a path as a person writes it, ``~`` meaning the home folder; what it names need not exist.

    ``what``: words for the message, such as ``--out``.

    Raises:
        UserError: nothing, a zero byte, half a character, a name that no file system can hold, or the home of an
        unknown user.
    """
    raw = os.fspath(text)
    if not raw.strip():
        raise UserError(f"got {what} without a name", "a path")
    if "\0" in raw:
        raise UserError(f"got {what} {raw[:80]!r}", "a path without zero bytes")
    try:
        encoded = os.fsencode(raw)
    except UnicodeEncodeError:
        raise UserError(f"got {what} {raw[:80]!r} with half a character", "a path in Unicode") from None
    longest = max(encoded.split(os.sep.encode()), key=len)
    if len(longest) > LONGEST_NAME or len(encoded) > LONGEST_PATH:
        length = f"a name of {len(longest)} bytes" if len(longest) > LONGEST_NAME else f"{len(encoded)} bytes"
        raise UserError(
            f"got {what} {raw[:80]}… with {length}", f"names of at most {LONGEST_NAME} bytes in {LONGEST_PATH}"
        )
    path = Path(raw)
    try:
        return path.expanduser()
    except RuntimeError:
        raise UserError(
            f"got {what} {raw[:80]}, but there is no user {path.parts[0].removeprefix('~')[:80] or 'here'} with a home",
            "a path",
            "its full path, from / on",
        ) from None


def free_folder(text: str | os.PathLike[str]) -> Path:
    """Read the path of a folder that is to be written: it does not exist, or is empty.

    Raises:
        UserError: as :func:`user_path`, or something is there.
    """
    folder = user_path(text, "the folder")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"got {text}, which exists", "a new or an empty folder")
    return folder
