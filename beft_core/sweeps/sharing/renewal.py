"""Renewal of finished fine-tunes: which of them a new start of a sweep trains again, and why.

Memory that ran out may suffice by now, on another GPU or with other settings; and what a sweep keeps beside a row may
have been lost, or not been wanted when the row was made. Whoever starts a sweep looks for these once and marks them in
its folder; its workers train what is marked as they train what is missing, each once: whatever comes of it, the mark
goes. So a fine-tune for which memory runs out again waits for the next start, however many workers there are. Until a
new row takes its place the old one stays in the table.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beft_core.config import RunConfig
from beft_core.counted import counted
from beft_core.errors import UserError
from beft_core.files.safetensors_file import SafetensorsFile
from beft_core.snapshots.adapter_folder import CONFIG, WEIGHTS
from beft_core.snapshots.snapshot import MAX_HEADER, adapter_beside
from beft_core.sweeps.rows import lacked_memory
from beft_core.sweeps.sharing.kept import Kept
from beft_core.sweeps.spec import identity, trains
from beft_core.sweeps.store import SweepFolder

MEMORY, NOT_KEPT, GONE, DAMAGED, PREDICTIONS = (
    "memory had run out",
    "its snapshot was not kept",
    "its snapshot is missing",
    "its snapshot cannot be read",
    "its predictions cannot be read",
)
"""Reasons why a finished fine-tune is trained again."""
OF_SNAPSHOTS = (NOT_KEPT, GONE, DAMAGED)
"""Those that there are only where snapshots are wanted."""
MAX_OPENED = 20_000
"""Most snapshots whose header is read; of further ones it is only seen whether they are there. With as many rows, that
takes a few seconds."""
MERGED = "v"
"""What is trained by the fine-tunes that merges are made of."""
REQUEUED = "SLURM_RESTART_COUNT"
"""Variable in which Slurm tells a job how often it was queued again."""
_PARQUET = b"PAR1"
"""First and last bytes of a Parquet file."""


@dataclass(frozen=True)
class Renewal:
    """What a new start of a sweep makes of the fine-tunes that are finished."""

    stays: frozenset[str]
    """Identities of those that stay as they are."""
    reasons: Mapping[str, str]
    """Identities of the others -> why they are trained again, one of the reasons above."""

    def in_words(self) -> str:
        """Write in one line how many are trained again and why; empty where none is."""
        if not self.reasons:
            return ""
        counts = Counter(self.reasons.values())
        known = (MEMORY, *OF_SNAPSHOTS, PREDICTIONS)
        why = ", ".join(f"{reason} ({counts[reason]:,})" for reason in known if counts[reason])
        line = f"{counted(len(self.reasons), 'finished fine-tune')} will be trained again: {why}"
        if any(counts[reason] for reason in OF_SNAPSHOTS):
            line += "; with --no-snapshots, those without a snapshot stay as they are"
        return line


def renewal_of(folder: SweepFolder, runs: Sequence[RunConfig], keep: Kept) -> Renewal:
    """Find the fine-tunes of a grid whose rows are there and that are to be trained again. Nothing is written.

    ``keep``: what is wanted beside the rows. Of a file the header and the size are looked at, not the values.
    """
    rows = folder.all_rows(runs)
    look = _Look(folder, keep)
    reasons = {}
    for config in runs:
        name = identity(config)
        if name in rows and (reason := look.reason(name, config, rows[name])) is not None:
            reasons[name] = reason
    return Renewal(frozenset(rows) - frozenset(reasons), reasons)


def renew(
    folder: SweepFolder, runs: Sequence[RunConfig], keep: Kept, tell: Callable[[str], object] = lambda _: None
) -> Renewal:
    """Mark what a new start of a sweep trains again, in the folder where it began, and say so in one line.

    Merges are made anew where a fine-tune that they are made of is. A job that Slurm has queued again goes on with the
    start that it had: what is marked stays so, and nothing else is.

    Raises:
        UserError: the folder cannot be written.
    """
    if os.environ.get(REQUEUED, "0") not in ("", "0"):
        return Renewal(frozenset(), {})
    found = renewal_of(folder, runs, keep)
    mark(folder, runs, found)
    if said := found.in_words():
        tell(said)
    return found


def mark(folder: SweepFolder, runs: Sequence[RunConfig], found: Renewal) -> None:
    """Mark in a folder what is trained again. Raises UserError where it cannot be written."""
    folder.mark_again(found.reasons.keys())
    changed = {name for name, reason in found.reasons.items() if reason != PREDICTIONS}
    if changed and any(trains(config) == MERGED and identity(config) in changed for config in runs):
        try:
            folder.merges.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"cannot remove {folder.merges}: {error.strerror}", "a folder to write to") from None


class _Look:
    """Look at what a sweep keeps beside its rows."""

    def __init__(self, folder: SweepFolder, keep: Kept) -> None:
        self._folder, self._keep = folder, keep
        self._there: Collection[str] | None = None
        self._opened = 0

    def reason(self, name: str, config: RunConfig, row: Mapping[str, Any]) -> str | None:
        """Say why a fine-tune is trained again; None where it is not."""
        if lacked_memory(row):
            return MEMORY
        if row.get("state") == "failed" or not self._keep.made_again:
            return None
        if self._keep.snapshots and (reason := self._of_snapshot(name, config, row)) is not None:
            return reason
        if self._keep.predictions and not _is_whole_parquet(self._folder.predictions(name)):
            return PREDICTIONS
        return None

    def _of_snapshot(self, name: str, config: RunConfig, row: Mapping[str, Any]) -> str | None:
        if row.get("snapshot") is None:
            return NOT_KEPT
        path = self._folder.snapshot(name)
        adapter = adapter_beside(path) if config.method.adapter is not None else None
        needed = [path] if adapter is None else [path, adapter]
        if any(one.name not in self._listed() and not one.exists() for one in needed):
            return GONE
        self._opened += 1
        if self._opened > MAX_OPENED:
            return None
        if adapter is not None and not ((adapter / CONFIG).is_file() and (adapter / WEIGHTS).is_file()):
            return GONE
        return DAMAGED if not _is_snapshot(path) or not (adapter is None or _is_whole(adapter / WEIGHTS)) else None

    def _listed(self) -> Collection[str]:
        """List the snapshots that there are, by one look; one that is not listed may have come since."""
        if self._there is None:
            try:
                self._there = set(os.listdir(self._folder.path / "snapshots"))  # noqa: PTH208 - one look
            except OSError:
                self._there = set()
        return self._there


def _is_snapshot(path: Path) -> bool:
    """Say whether a file has the header of a snapshot and all the bytes that it promises."""
    try:
        return "beft" in SafetensorsFile(path, max_header=MAX_HEADER).metadata
    except UserError:
        return False


def _is_whole(path: Path) -> bool:
    try:
        SafetensorsFile(path)
    except UserError:
        return False
    return True


def _is_whole_parquet(path: Path) -> bool:
    """Say whether a file begins and ends as a Parquet file does; one that is not there is none that is damaged: of some
    fine-tunes there are no predictions.
    """
    try:
        with path.open("rb") as file:
            first = file.read(len(_PARQUET))
            file.seek(-min(len(_PARQUET), len(first)), os.SEEK_END)
            return first == file.read() == _PARQUET
    except FileNotFoundError:
        return True
    except OSError:
        return False
