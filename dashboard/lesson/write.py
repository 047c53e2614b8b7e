"""Writing of a lesson into a folder that is there whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from beft_core.errors import UserError
from beft_core.files.leftovers import temporary
from beft_core.files.safe_io import atomic_write, sync_folder
from dashboard.lesson import site
from dashboard.lesson.shelf import Shelf
from dashboard.lesson.site import INDEX, files

PAGES = len(site.PAGES)
"""Number of pages that are made, besides the first."""


@dataclass(frozen=True)
class Written:
    """Lesson that was written."""

    folder: Path
    files: tuple[str, ...]
    """Paths inside the folder."""
    bytes: int

    @property
    def first(self) -> Path:
        """Page to open."""
        return self.folder / INDEX


def require_new(folder: Path) -> None:
    """Check that a folder can be made: it is not there, or empty, and stands in a folder. Raises UserError."""
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"got {folder}, which is a file", "a folder")
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(f"got {folder}, which is not empty", "a new folder or an empty one")
    except OSError as error:
        raise UserError(f"got {folder}, which cannot be read ({error.strerror})", "a new folder") from None
    if not folder.absolute().parent.is_dir():
        raise UserError(f"got {folder}, whose folder does not exist", "a folder in one that exists")


def write_lesson(folder: Path, snapshots: Sequence[Path] = (), done: Callable[[], None] = lambda: None) -> Written:
    """Write a lesson. ``snapshots``: files that take the place of the samples; ``done``: called after each page.

    Raises:
        UserError: as :func:`require_new` and :func:`dashboard.lesson.site.files`, or the folder cannot be written.
        NoRoom: the disk is full; nothing is left of the lesson.
    """
    require_new(folder)
    made = files(Shelf.of(snapshots), done)
    under_way = temporary(folder.absolute())
    try:
        for name, content in made.items():
            path = under_way / name
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, [content])
        if folder.is_dir():
            folder.rmdir()  # empty, or somebody wrote into it meanwhile: that is refused
        under_way.rename(folder.absolute())
        with suppress(OSError):
            sync_folder(folder.absolute().parent)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}", "a folder that may be written") from None
    finally:
        shutil.rmtree(under_way, ignore_errors=True)
    return Written(folder, tuple(made), sum(map(len, made.values())))
