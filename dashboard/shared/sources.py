"""Sources that the dashboard can open: bundled samples, finished runs, uploaded files, kept ones among them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import streamlit as st

from beft_core.errors import UserError
from beft_core.exchange import upload_library
from beft_core.exchange.uploads import opened
from beft_core.runs.about import about
from beft_core.runs.kinds import KINDS
from beft_core.runs.run import Run, list_runs
from beft_core.scores.table import ScoreTable, score_snapshot
from beft_core.snapshots.snapshot import Snapshot, SnapshotMeta, read_snapshot
from dashboard.content.samples import Opened, Source, samples

_Held = TypeVar("_Held")
UPLOADS = "uploads"
"""Session state: title -> the uploads of this tab, as :class:`Source`."""
MAX_UPLOADS = 50
MAX_UPLOAD_BYTES = 256 * 2**20
"""Bytes that one tab may hold in memory, all its uploads together."""

_NUMBERED = re.compile(r"(Run|Kept) ([0-9a-f]{6})\b")
"""Titles that begin with six digits of an id: whatever follows may change, a link still leads there."""


def finished_runs() -> list[Source]:
    """List the runs of the home folder that left a snapshot, newest first."""
    return [_run_source(run) for run in list_runs() if run.snapshot.is_file()]


def kept() -> list[Source]:
    """List the uploads that somebody asked to keep in the home folder, newest first."""
    return [kept_source(one) for one in upload_library.kept()]


def kept_source(one: upload_library.Kept) -> Source:
    """Describe a kept upload."""
    return Source(f"Kept {one.id[-6:]}: {one.name}", one.path, group="kept", kept_id=one.id)


def uploads() -> list[Source]:
    """List what this tab uploaded, oldest first."""
    return list(st.session_state.get(UPLOADS, {}).values())


def shelf() -> tuple[list[Source], UserError | None]:
    """List everything that can be opened, samples first; and say what is wrong with the samples, if something is."""
    problem: UserError | None = None
    bundled: list[Source] = []
    try:
        bundled = samples()
    except UserError as error:
        problem = error
    unique: dict[str, Source] = {}
    for source in [*bundled, *uploads(), *kept(), *finished_runs()]:
        unique.setdefault(source.title, source)  # of two with one title the samples win
    return list(unique.values()), problem


def still_there(titles: Iterable[str], options: Sequence[str]) -> tuple[list[str], list[str]]:
    """Find what titles of a link or of a list are called now, and which are gone.

    A run or kept upload is found by its six digits, whatever its name was when the link was made.
    """
    numbered = {match[0]: title for title in options if (match := _NUMBERED.match(title))}
    found: list[str] = []
    gone: list[str] = []
    for title in titles:
        match = _NUMBERED.match(title)
        now = title if title in options else numbered.get(match[0]) if match else None
        (gone if now is None else found).append(now or title)
    return list(dict.fromkeys(found)), gone


def run_title(run: Run) -> str:
    """Write a short, unique title of a run for lists and the URL: the name that somebody gave it, or what it does."""
    return _run_source(run).title


def _run_source(run: Run) -> Source:
    return _described(run, *(_version(run.path / name) for name in ("config.json", "status.json", "about.json")))


def _version(path: Path) -> tuple[int, int, int]:
    """Version of a file, which changes whenever that is replaced; zeros where there is none."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_ino, status.st_size


@lru_cache(maxsize=4096)
def _described(run: Run, *versions: tuple[int, int, int]) -> Source:
    """Describe a run, once per version of its files: lists of hundreds of runs are drawn with every click."""
    number = f"Run {run.id[-6:]}"
    name = about(run).name
    try:
        kind, config = run.config()
        row = KINDS[kind]
        does = f"{(row.brief or row.trains)(config)} on {' + '.join(row.tasks(config))}"
    except UserError:
        does = ""
    state = run.recorded().state
    early = "" if state == "done" else f"This run ended early ({state}): what it had until then."
    title = ": ".join(filter(None, (number, name or does)))
    return Source(title, run.snapshot, early, "run")


def open_source(source: Source) -> Opened:
    """Read and score a snapshot; remembered until the file changes.

    Raises:
        UserError: it is gone, or not a snapshot that can be scored.
    """
    if source.path is None:
        return Opened(source.title, source.read().meta, source.scores, source.shows, source)
    try:
        stat = source.path.stat()
    except OSError:
        raise UserError(
            f"{source.path.name} is gone", "a file that is still there", "another one of the list"
        ) from None
    meta, scores = _read(str(source.path), stat.st_mtime_ns, stat.st_size)
    return Opened(source.title, meta, scores, source.shows, source)


@st.cache_data(max_entries=64, show_spinner=False)
def _read(path: str, mtime: int, size: int) -> tuple[SnapshotMeta, ScoreTable]:
    snapshot = read_snapshot(path)
    return snapshot.meta, score_snapshot(snapshot)


def accept(name: str, data: bytes) -> Source:
    """Check an upload to its last tensor and put it on the shelf of this tab. Its name is only shown.

    Raises:
        UserError: not a snapshot that can be scored, nor the zip of an adapter; or no room for it.
    """
    return add_upload(name, opened(name, data))


def add_upload(name: str, snapshot: Snapshot) -> Source:
    """Put a checked snapshot on the shelf of this tab.

    The same one again takes its own place. Another of the same name, as the files of all runs have it, gets a number.

    Raises:
        UserError: this tab holds as many uploads, or bytes, as it may.
    """
    size = sum(array.nbytes for array in snapshot.tensors().values())
    held: dict[str, Source] = st.session_state.setdefault(UPLOADS, {})
    title = free_title(f"Upload: {name}", held, lambda other: _alike(other.read(), snapshot))
    source = Source(title, None, group="upload", memory=snapshot, size=size)
    others = [other for other in held.values() if other.title != source.title]
    room = MAX_UPLOAD_BYTES - sum(other.size for other in others)
    if len(others) >= MAX_UPLOADS or size > room:
        raise UserError(
            f"{size / 1e6:.1f} MB more than this tab's {len(others)} uploads",
            f"at most {MAX_UPLOADS} uploads of {MAX_UPLOAD_BYTES / 1e6:.0f} MB together",
            "removing or keeping some on the page Compare",
        )
    held[source.title] = source
    return source


def free_title(title: str, held: Mapping[str, _Held], is_same: Callable[[_Held], bool]) -> str:
    """Find the title of an upload: the first, numbered from 2 on, that no other one has."""
    titles = (title if number == 1 else f"{title} ({number})" for number in itertools.count(1))
    return next(one for one in titles if one not in held or is_same(held[one]))


def _alike(one: Snapshot, other: Snapshot) -> bool:
    """Say whether two snapshots hold the same: what they say of themselves, and every tensor."""
    mine, theirs = one.tensors(), other.tensors()
    same = one.meta == other.meta and mine.keys() == theirs.keys()
    return same and all(np.array_equal(array, theirs[name], equal_nan=True) for name, array in mine.items())


def remove_upload(title: str) -> None:
    """Take an upload of this tab off the shelf; its memory is free again."""
    st.session_state.get(UPLOADS, {}).pop(title, None)
