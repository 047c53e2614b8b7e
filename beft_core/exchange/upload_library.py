"""Library of the snapshots that a user asked to keep: ``<BEFT_HOME>/uploads``, under names made here, the original name
as text.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from beft_core.errors import UserError
from beft_core.files.home import home
from beft_core.files.safe_io import atomic_write, read_json_file
from beft_core.snapshots.snapshot import SUFFIX, Snapshot, write_snapshot

MAX_KEPT = 500
NAME_CHARACTERS = 200

_ID = re.compile(r"\d{8}-\d{6}-\d{6}-[0-9a-f]{6}")
_FILE = re.compile(_ID.pattern + re.escape(SUFFIX))


@dataclass(frozen=True, order=True)
class Kept:
    """Snapshot that is kept in the home folder. Sorted by age, because its id begins with the time when it was kept."""

    path: Path
    name: str = field(compare=False)
    """Name that the owner gave it: text to show, never a path."""

    @property
    def id(self) -> str:
        return self.path.name.removesuffix(SUFFIX)


def keep(snapshot: Snapshot, name: str, root: Path | None = None) -> Kept:
    """Write a snapshot into the home folder.

    Raises:
        UserError: too many are kept, or the folder cannot be written.
    """
    if len(kept(root)) >= MAX_KEPT:
        raise UserError(f"{MAX_KEPT} snapshots are kept", "fewer", "forgetting some that are no longer needed")
    folder = _folder(root)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {folder}: {error.strerror}", "a folder to write to", "BEFT_HOME") from None
    path = folder / f"{datetime.now():%Y%m%d-%H%M%S-%f}-{secrets.token_hex(3)}{SUFFIX}"
    line = _one_line(name)
    # The name first: whoever lists the folder between the two sees nothing yet.
    atomic_write(_name_file(path), [json.dumps({"name": line}).encode()])
    try:
        write_snapshot(path, snapshot)
    except BaseException:
        _name_file(path).unlink(missing_ok=True)  # the name of nothing
        raise
    return Kept(path, line)


def kept(root: Path | None = None) -> list[Kept]:
    """List all kept snapshots, newest first. Whatever else lies in the folder is left out."""
    try:
        paths = [path for path in _folder(root).iterdir() if _FILE.fullmatch(path.name)]
    except OSError:  # no such folder yet, or one that cannot be read
        return []
    return sorted(map(_kept, paths), reverse=True)


def find_kept(kept_id: str, root: Path | None = None) -> Kept:
    """Find the kept snapshot of an id.

    Raises:
        UserError: not an id, or nothing is kept under it.
    """
    path = _folder(root) / f"{kept_id}{SUFFIX}" if _ID.fullmatch(kept_id) else None
    if path is None or not path.is_file():
        raise UserError(f"got the kept snapshot {kept_id!r}", "one of the uploads folder", "another one of the list")
    return _kept(path)


def forget(kept_id: str, root: Path | None = None) -> None:
    """Remove a kept snapshot from the disk; one that is already gone is no error.

    Raises:
        UserError: not an id, or the file cannot be removed.
    """
    if not _ID.fullmatch(kept_id):
        raise UserError(f"got the kept snapshot {kept_id!r}", "one of the uploads folder")
    path = _folder(root) / f"{kept_id}{SUFFIX}"
    try:
        path.unlink(missing_ok=True)
        _name_file(path).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot remove {path.name}: {error.strerror}", "a folder to write to") from None


def _folder(root: Path | None) -> Path:
    return (root or home()) / "uploads"


def _name_file(path: Path) -> Path:
    return path.with_name(f"{path.name.removesuffix(SUFFIX)}.json")


def _kept(path: Path) -> Kept:
    file = _name_file(path)
    try:
        status = file.stat()
    except OSError:
        return Kept(path, "without a name")
    return Kept(path, _read_name(file, status.st_mtime_ns, status.st_ino))


@lru_cache(maxsize=2 * MAX_KEPT)
def _read_name(file: Path, mtime: int, inode: int) -> str:
    """Read the name of a kept snapshot, once as long as its file stays the same: lists are drawn with every click."""
    try:
        name = read_json_file(file, limit=2**16).get("name")
    except UserError:
        name = None
    return _one_line(name) if isinstance(name, str) and name.strip() else "without a name"


def _one_line(name: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())[:NAME_CHARACTERS]
