"""What people add to runs: names, tags, notes, an estimate made before the start; and deleting that can be undone.

All of it stands in ``about.json`` of the run's folder, which the worker never touches. A deleted run is moved to
``trash`` in the home folder. What a user typed is only ever content of a file, never a part of a path.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.files.home import home
from beft_core.files.json_shape import Number, Table, check
from beft_core.files.safe_io import atomic_write, parse_json, read_bounded
from beft_core.runs.run import Run, find_in, runs_in

NAME_CHARACTERS = 80
TAG_CHARACTERS = 24
MAX_TAGS = 8
NOTE_CHARACTERS = 1000
NOTE_LINES = 20
_FILE = "about.json"
_BYTES = 2**16
_ESTIMATE = Table({"seconds": Number(0, 1e12), "bytes": Number(0, 1e18)})


@dataclass(frozen=True)
class About:
    """Facts about a run besides what it did: name, tags, estimate, note."""

    name: str = ""
    """Name that somebody gave the run; empty where nobody did."""
    tags: tuple[str, ...] = ()
    estimate: dict[str, float] | None = None
    """Estimate before the start: ``seconds`` and peak memory in ``bytes``; to be compared with what it took."""
    note: str = ""
    """Text of a few lines that somebody wrote on the run; empty where nobody did."""


def about(run: Run) -> About:
    """Read the notes on a run; a missing or damaged file says nothing."""
    try:
        return read_about(run)
    except UserError:
        return About()


def read_about(run: Run) -> About:
    """Read the notes on a run.

    Raises:
        UserError: ``about.json`` is missing or damaged.
    """
    table = parse_json(read_bounded(run.path / _FILE, _BYTES, follow=False), _FILE)
    return About(
        _name(table.get("name", "")),
        _tags(table.get("tags", ())),
        _estimate(table.get("estimate")),
        _note(table.get("note", "")),
    )


def rename(run: Run, name: str) -> None:
    """Give a run a name to be shown; an empty one takes it away.

    Raises:
        UserError: too long, or the folder cannot be written.
    """
    _write(run, name=_name(name))


def set_tags(run: Run, tags: Iterable[str]) -> None:
    """Replace the tags of a run.

    Raises:
        UserError: too many, too long or empty ones, or the folder cannot be written.
    """
    _write(run, tags=_tags(tags))


def set_note(run: Run, note: str) -> None:
    """Replace the note on a run; an empty one takes it away.

    Raises:
        UserError: too long, or the folder cannot be written.
    """
    _write(run, note=_note(note))


def set_estimate(run: Run, seconds: float, bytes: int) -> None:
    """Keep how long the run was expected to take and how much memory.

    Raises:
        UserError: not positive numbers, or the folder cannot be written.
    """
    _write(run, estimate=_estimate({"seconds": seconds, "bytes": bytes}))


def _write(run: Run, **changes: Any) -> None:
    if not run.path.is_dir():
        raise UserError(f"run {run.id} is gone", "a run that is still there")
    atomic_write(run.path / _FILE, [json.dumps(asdict(replace(about(run), **changes)), indent=1).encode()])


def _name(text: Any) -> str:
    return _line(text, NAME_CHARACTERS, "name")


def _tags(tags: Any) -> tuple[str, ...]:
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise UserError(f"got tags of type {type(tags).__name__}", "a list of words")
    chosen = tuple(dict.fromkeys(_line(tag, TAG_CHARACTERS, "tag") for tag in tags))
    if "" in chosen:
        raise UserError("got an empty tag", "a word")
    if len(chosen) > MAX_TAGS:
        raise UserError(f"got {len(chosen)} tags", f"at most {MAX_TAGS}")
    return chosen


def _line(text: Any, most: int, what: str) -> str:
    """Put a text on one line, without what cannot be seen."""
    if not isinstance(text, str):
        raise UserError(f"got a {what} of type {type(text).__name__}", "text")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(line) > most:
        raise UserError(f"got a {what} of {len(line)} characters", f"at most {most}")
    return line


def _note(text: Any) -> str:
    """Keep the lines of a text, without what cannot be seen and without empty lines at its ends."""
    if not isinstance(text, str):
        raise UserError(f"got a note of type {type(text).__name__}", "text")
    if len(text) > 2 * NOTE_CHARACTERS:  # before any work on it
        raise UserError(f"got a note of {len(text)} characters", f"at most {NOTE_CHARACTERS}")
    lines = [_line(line, NOTE_CHARACTERS, "note") for line in text.strip().splitlines()]
    if len(lines) > NOTE_LINES:
        raise UserError(f"got a note of {len(lines)} lines", f"at most {NOTE_LINES}")
    note = "\n".join(lines).strip()
    if len(note) > NOTE_CHARACTERS:
        raise UserError(f"got a note of {len(note)} characters", f"at most {NOTE_CHARACTERS}")
    return note


def _estimate(table: Any) -> dict[str, float] | None:
    if table is None:
        return None
    check(table, _ESTIMATE, "the estimate")
    return {"seconds": float(table["seconds"]), "bytes": int(table["bytes"])}


# --- deleting ------------------------------------------------------------------------------------------------------


def delete(run: Run) -> None:
    """Move a run to the trash, from where :func:`restore` brings it back. One that waits for a worker which nobody is
    starting any more can be deleted too.

    Raises:
        UserError: it is still active, is gone, or cannot be moved.
    """
    status = run.status()
    if status.active and run.attended(status):
        raise UserError(f"run {run.id} is {status.state}", "a run that has ended", "to cancel it first")
    trash = run.path.parent.parent / "trash"
    try:
        trash.mkdir(exist_ok=True)
        os.utime(run.path)  # moving keeps the time: it tells when the run was deleted
        run.path.rename(trash / run.id)
    except OSError as error:
        raise UserError(f"cannot delete run {run.id}: {error.strerror}", "a run that is still there") from None


def restore(run_id: str, root: Path | None = None) -> Run:
    """Bring a deleted run back.

    Raises:
        UserError: no deleted run of that name, or it cannot be moved.
    """
    root = root or home()
    run = find_in(root / "trash", run_id)
    back = Run(root / "runs" / run.id)
    try:
        run.path.rename(back.path)
    except OSError as error:
        raise UserError(f"cannot restore run {run.id}: {error.strerror}", "room for it in the home folder") from None
    return back


def deleted(root: Path | None = None) -> list[Run]:
    """List the runs in the trash, the last deleted first."""
    return sorted(runs_in((root or home()) / "trash"), key=_deleted_at, reverse=True)


def empty_trash(older_than_seconds: float = 0.0, root: Path | None = None) -> int:
    """Remove for good the runs that were deleted at least so many seconds ago, and return their number."""
    limit = time.time() - older_than_seconds
    old = [run for run in deleted(root) if _deleted_at(run) <= limit]
    for run in old:
        shutil.rmtree(run.path, ignore_errors=True)  # restored or removed by somebody else meanwhile
    return len(old)


def _deleted_at(run: Run) -> float:
    try:
        return run.path.stat().st_mtime
    except OSError:
        return 0.0
