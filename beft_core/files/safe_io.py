"""Reader of JSON that a stranger wrote, and writer of files that are either complete or not there."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.files.disk import NO_ROOM, NoRoom
from beft_core.files.leftovers import being_written, remove_leftovers_once
from beft_core.files.leftovers import temporary as temporary_of
from beft_core.files.plain_file import open_plain


def parse_json(text: str | bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object strictly: UTF-8, no duplicate keys, no NaN or infinity.

    Raises:
        UserError: naming `what` (words for the reader, such as "header of x.safetensors").
    """
    try:
        value = json.loads(
            text.decode("utf-8") if isinstance(text, bytes) else text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
        )
    except RecursionError:
        raise UserError(f"{what}: nested too deep", "plain JSON") from None
    except ValueError as error:  # also not UTF-8, and integers of thousands of digits
        raise UserError(f"{what}: not valid JSON ({error})", "one JSON object, UTF-8, unique keys") from None
    if not isinstance(value, dict):
        raise UserError(f"{what}: a JSON {type(value).__name__}", "a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {twice[:80]!r} stands twice")
    return table


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def read_bounded(path: Path, limit: int, what: str = "a readable file", *, follow: bool = True) -> bytes:
    """Read the bytes of a regular file of at most `limit` bytes; `what`: words for what was expected.

    The size that the system tells is not trusted: a file may grow while it is read. ``follow`` as in
    :func:`beft_core.files.plain_file.open_plain`.

    Raises:
        UserError: no such file, not readable, not a regular file, or too large.
    """
    try:
        with open_plain(path, what=what, follow=follow) as file:
            size, data = os.fstat(file.fileno()).st_size, b""
            if size <= limit:
                data = file.read(size + 1)
                size = max(size, len(data))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", what) from None
    if size > limit:
        raise UserError(f"{path}: {size} bytes", f"at most {limit}")
    return data


def read_json_file(path: Path, limit: int = 16 * 2**20) -> dict[str, Any]:
    """Read a JSON object from a regular file of at most `limit` bytes.

    Raises:
        UserError: no such file, not readable, too large, or not a JSON object.
    """
    return parse_json(read_bounded(path, limit, "a readable JSON file"), str(path))


def atomic_write(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write a file so that any reader sees the old one or the complete new one, also after a crash or a power cut.

    The temporary file stands in the same folder, because a rename is atomic only within a file system. The first
    write into a folder removes what killed processes left there.

    Raises:
        NoRoom: the disk is full; the old file is still there.
        UserError: the folder is missing or cannot be written.
    """
    remove_leftovers_once(path.parent)
    temporary = temporary_of(path)
    written, rest = 0, iter(chunks)
    try:
        try:
            with ExitStack() as held:
                with temporary.open("xb") as file:
                    held.enter_context(being_written(file))
                    for chunk in rest:
                        written += _bytes(chunk)
                        file.write(chunk)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise NoRoom(path, written + sum(map(_bytes, rest)), error.errno) from None
        raise UserError(f"cannot write {path}: {error.strerror}", "a folder that exists and can be written") from None


_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
"""Error numbers of a file system without hard links."""


def create_once(path: Path, data: bytes) -> bool:
    """Create a file with all of its content, unless one of its name is there; say whether it was created here.

    Of any number of callers on any machines that share the file system, one succeeds: a hard link makes a name or
    fails, also over NFS, where locks cannot be trusted and where a file that is opened is seen before it has its bytes.

    Raises:
        NoRoom: the disk is full.
        UserError: the folder is missing or cannot be written.
    """
    remove_leftovers_once(path.parent)
    temporary = temporary_of(path)
    try:
        try:
            with temporary.open("xb") as file, being_written(file):
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                return _linked(temporary, path, data)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise NoRoom(path, len(data), error.errno) from None
        raise UserError(f"cannot write {path}: {error.strerror}", "a folder that exists and can be written") from None


def _linked(temporary: Path, path: Path, data: bytes) -> bool:
    """Give a file its name, unless that is taken; where there are no links, write it under its name."""
    try:
        os.link(temporary, path)
        return True
    except FileExistsError:
        # A server whose answer was lost is asked again, and finds what it made the first time.
        return temporary.stat().st_nlink > 1
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    try:
        with path.open("xb") as file:
            file.write(data)
        return True
    except FileExistsError:
        return False


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk: until then a power cut undoes a rename.

    Raises:
        OSError: the disk failed. Systems that cannot do this for folders are no failure.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:  # a folder that may be written but not read, or Windows
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def _bytes(chunk: bytes | memoryview) -> int:
    return memoryview(chunk).nbytes
