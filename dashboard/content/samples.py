"""Snapshots that can be opened, and the samples that come with the lab: read without Streamlit."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import dashboard
from beft_core.errors import UserError
from beft_core.files.safe_io import read_json_file
from beft_core.scores.table import ScoreTable, score_snapshot
from beft_core.snapshots.snapshot import Snapshot, SnapshotMeta, read_snapshot


@dataclass(frozen=True)
class Source:
    """Snapshot that can be opened: a file, or an upload that this tab holds in memory."""

    title: str
    """Unique title, as it stands in the list and in the URL."""
    path: Path | None
    shows: str = ""
    """Sentence on what one sees there."""
    group: str = "sample"
    """Kind of source: ``sample``, ``run``, ``kept`` (an upload on disk) or ``upload`` (one in memory)."""
    memory: Snapshot | None = None
    """Snapshot that was uploaded, where there is no path."""
    size: int = 0
    """Bytes of an upload in memory."""
    kept_id: str = ""
    """Id of a kept upload, as :func:`beft_core.exchange.upload_library.find_kept` takes it."""

    def read(self) -> Snapshot:
        """Read the snapshot; of a file only the header is read now.

        Raises:
            UserError: the file is gone, or not a snapshot.
        """
        if self.memory is not None:
            return self.memory
        assert self.path is not None
        return read_snapshot(self.path)

    @cached_property
    def scores(self) -> ScoreTable:
        """Scores of an upload in memory, which does not change."""
        return score_snapshot(self.read())


@dataclass(frozen=True)
class Opened:
    """Snapshot, read and scored."""

    title: str
    meta: SnapshotMeta
    scores: ScoreTable
    shows: str = ""
    source: Source | None = None

    def selected(self, stack: str) -> dict[str, str | None]:
        """Select a term by each approach; None without a contest: see `ScoreTable.selected`."""
        return self.scores.selected(stack)


def samples_folder() -> Path:
    """Find the folder of the bundled samples, beside the dashboard; ``BEFT_SAMPLES_DIR`` names another (for tests)."""
    named = os.environ.get("BEFT_SAMPLES_DIR")
    return Path(named) if named else Path(str(dashboard.__file__)).parents[1] / "sample_snapshots"


def samples() -> list[Source]:
    """List the samples of ``index.json``, the default one first.

    Raises:
        UserError: no index, or one that is damaged.
    """
    folder = samples_folder()
    index = read_json_file(folder / "index.json")
    entries = index.get("samples")
    if not isinstance(entries, list) or not all(
        isinstance(e, dict) and isinstance(e.get("file"), str) for e in entries
    ):
        raise UserError(f"{folder / 'index.json'} lists no samples", 'entries with a "file"')
    # The first of the list is what opens; the sort is stable, so the others keep their order.
    entries = sorted(entries, key=lambda entry: entry["file"] != index.get("default"))
    return [
        Source(
            str(entry.get("title") or entry["file"]), folder / Path(entry["file"]).name, str(entry.get("shows") or "")
        )
        for entry in entries
        if (folder / Path(entry["file"]).name).is_file()
    ]


def opened(source: Source) -> Opened:
    """Read and score a snapshot anew.

    Raises:
        UserError: it is gone, or not a snapshot that can be scored.
    """
    snapshot = source.read()
    return Opened(source.title, snapshot.meta, score_snapshot(snapshot), source.shows, source)


def metas(sources: Iterable[Source]) -> list[SnapshotMeta]:
    """Read what snapshots say of themselves; one that cannot be read is passed over."""
    found = []
    for source in sources:
        with suppress(UserError):
            found.append(source.read().meta)
    return found
