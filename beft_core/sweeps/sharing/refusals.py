"""Reasons why runs of a sweep cannot be trained, as files that all of its workers see.

``refused/<run>.json`` each: whoever finds out writes it, and nobody tries that run again in this call. A later call
tries it anew, since what was missing may be there by then.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from beft_core.errors import UserError
from beft_core.files.json_shape import Table, Text, check
from beft_core.files.safe_io import atomic_write, read_json_file

MAX_REASON, MAX_BYTES = 2000, 16 * 2**10
"""Most characters of a reason that are kept, and most bytes of its file."""
_RECORD = Table({"reason": Text(MAX_REASON)})
_SUFFIX = ".json"


class Refusals:
    """Refused runs of a sweep, by identity."""

    def __init__(self, folder: Path) -> None:
        """``folder``: of the files; it need not exist."""
        self._folder = folder
        self._read: dict[str, str] = {}
        """Reasons that were read: they never change."""

    def add(self, run: str, reason: str) -> None:
        """Note why a run, named by its identity, cannot be trained. Raises UserError where that cannot be written."""
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write {self._folder}: {error.strerror}", "a folder to write to", "--out") from None
        atomic_write(self._folder / f"{run}{_SUFFIX}", [json.dumps({"reason": reason[:MAX_REASON]}).encode()])

    def look(self) -> dict[str, str]:
        """Read the reasons of all refused runs. A file that cannot be read says so as the reason."""
        try:
            names = [name for name in os.listdir(self._folder) if name.endswith(_SUFFIX)]  # noqa: PTH208 - one look
        except OSError:
            return {}
        for name in names:
            if (run := name.removesuffix(_SUFFIX)) not in self._read:
                self._read[run] = self._reason(self._folder / name)
        return dict(self._read)

    def forget(self) -> None:
        """Remove all reasons."""
        for run in self.look():
            with suppress(OSError):
                (self._folder / f"{run}{_SUFFIX}").unlink()
        self._read.clear()

    @staticmethod
    def _reason(path: Path) -> str:
        try:
            table = read_json_file(path, MAX_BYTES)
            check(table, _RECORD, path.name)
        except UserError as error:
            return str(error)
        return str(table["reason"])
