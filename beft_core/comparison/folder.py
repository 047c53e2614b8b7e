"""Folder of a comparison: two sweeps, and the result.

``comparison.json``: what is compared. ``trials/``, ``finals/``: folders of sweeps, the second with predictions.
``methods.parquet``, ``.csv`` and ``.json``, ``methods-pairs.parquet`` and ``.csv``: the result
(:mod:`beft_core.reports.methods.table`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.files.locks import hold
from beft_core.files.safe_io import atomic_write
from beft_core.sweeps.store import SweepFolder

RECORD, VERSION = "comparison.json", 1


@dataclass(frozen=True)
class ComparisonFolder:
    """Folder that holds one comparison, or will."""

    path: Path

    @property
    def trials(self) -> SweepFolder:
        """Sweep of the trials."""
        return SweepFolder(self.path / "trials")

    @property
    def finals(self) -> SweepFolder:
        """Sweep of what is reported."""
        return SweepFolder(self.path / "finals")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and hold it alone inside the block.

        Raises:
            UserError: another comparison is at work there, the folder cannot be made, or it holds something else.
        """
        self.prepare()
        with hold(
            self.path / "comparison",
            f"the comparison's folder {self.path}",
            "another --out, or again when that one has ended",
        ):
            yield

    def prepare(self) -> None:
        """Make the folder. Raises UserError where it cannot be made or holds files of something else."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            strange = [entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")]
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}", "a folder to write to", "--out") from None
        if strange and not (self.path / RECORD).is_file():
            expected = "an empty folder, or that of a comparison"
            raise UserError(f"got {self.path}, which holds {strange[0]}", expected)

    def begin(self, about: dict[str, Any]) -> None:
        """Note what is compared."""
        document = {"version": VERSION, **about}
        atomic_write(self.path / RECORD, [json.dumps(document, indent=1).encode()])
