"""SHA-256 of files, computed once for each state of a file within a process."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from beft_core.files.plain_file import open_plain


def sha256_of(file: Path) -> str:
    """Compute the SHA-256 of a regular file, as 64 hexadecimal digits; again only if its size or time changed.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is not a regular file, or may not be opened.
    """
    status = file.stat()
    return _digest(file, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def _digest(file: Path, mtime_ns: int, size: int) -> str:
    with open_plain(file) as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()  # type: ignore[arg-type]
