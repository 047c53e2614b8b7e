"""What the dashboard can open: bundled samples, finished runs, an uploaded file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

import dashboard
from beft_core.errors import UserError
from beft_core.runs.directory import Run, list_runs
from beft_core.safe_io import read_json_file
from beft_core.scores import ScoreTable, score_snapshot
from beft_core.snapshot import SnapshotMeta, read_snapshot
from dashboard.figures.heatmaps import reason_without_score


@dataclass(frozen=True)
class Source:
    """A snapshot file that can be opened."""

    title: str
    """Unique: it is what stands in the list and in the URL."""
    path: Path
    shows: str = ""
    """What one sees there, in a sentence."""


@dataclass(frozen=True)
class Opened:
    """A snapshot, read and scored."""

    title: str
    meta: SnapshotMeta
    scores: ScoreTable
    shows: str = ""

    def selected(self, stack: str) -> dict[str, str | None]:
        """Approach -> the term it selects; None where no candidate took part, as in a run of the head alone."""
        taking_part = {
            (row.term, key)
            for row in self.scores.terms
            for key in row.scores
            if row.stack == stack and reason_without_score(row, key) is None
        }
        return {key: term if (term, key) in taking_part else None for key, term in self.scores.selected(stack).items()}


def samples_folder() -> Path:
    """The bundled samples, beside the dashboard; ``BEFT_SAMPLES_DIR`` names another folder (tests use it)."""
    named = os.environ.get("BEFT_SAMPLES_DIR")
    return Path(named) if named else Path(str(dashboard.__file__)).parents[1] / "sample_snapshots"


def samples() -> list[Source]:
    """The samples of ``index.json``, the default one first.

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


def finished_runs() -> list[Source]:
    """Runs of the home folder that left a snapshot, newest first."""
    return [Source(run_title(run), run.snapshot, _run_shows(run)) for run in list_runs() if run.snapshot.is_file()]


def run_title(run: Run) -> str:
    """Short and unique, for lists and the URL."""
    try:
        kind, config = run.config()
    except UserError:
        return f"Run {run.id[-6:]}"
    return f"Run {run.id[-6:]}: {kind} on {config.get('task')}"


def _run_shows(run: Run) -> str:
    status = run.recorded()
    return "" if status.state == "done" else f"This run ended early ({status.state}): what it had until then."


def open_source(source: Source) -> Opened:
    """Read and score a file; remembered until the file changes.

    Raises:
        UserError: it is gone, or not a snapshot that can be scored.
    """
    try:
        stat = source.path.stat()
    except OSError:
        raise UserError(
            f"{source.path.name} is gone", "a file that is still there", "another one of the list"
        ) from None
    meta, scores = _read(str(source.path), stat.st_mtime_ns, stat.st_size)
    return Opened(source.title, meta, scores, source.shows)


@st.cache_data(max_entries=64, show_spinner=False)
def _read(path: str, mtime: int, size: int) -> tuple[SnapshotMeta, ScoreTable]:
    snapshot = read_snapshot(path)
    return snapshot.meta, score_snapshot(snapshot)


def open_bytes(name: str, data: bytes) -> Opened:
    """An uploaded file. Its name is only shown, never used as a path.

    Raises:
        UserError: not a snapshot that can be scored.
    """
    snapshot = read_snapshot(data)
    snapshot.tensors()  # a stranger's file is checked to its last tensor, not only those that are shown
    return Opened(f"Upload: {name}", snapshot.meta, score_snapshot(snapshot))


def titles(sources: Sequence[Source], uploaded: Opened | None) -> list[str]:
    """What the list offers. The same title twice would make one of the two unreachable."""
    names = [source.title for source in sources] + ([uploaded.title] if uploaded else [])
    return list(dict.fromkeys(names))
