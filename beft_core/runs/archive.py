"""Archive of runs as one zip file: snapshot, settings and result as they are, measurements as CSV, of a sweep its
table.
"""

from __future__ import annotations

import csv
import io
import os
import time
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any

from beft_core.errors import UserError
from beft_core.files.safe_io import read_bounded
from beft_core.runs.compare import effective
from beft_core.runs.curves import CurveReader
from beft_core.runs.overview import Overview
from beft_core.runs.run import Run
from beft_core.snapshots.snapshot import SUFFIX
from beft_core.training.observer import NOT_METRICS

MAX_BYTES = 512 * 2**20
"""Most bytes of one file, since the archive is made in memory."""
LEFT_OUT = "left-out.txt"
"""Name of the list, in the archive, of the files that are not in it though they are there."""

_AS_IT_IS = ("config.json", "status.json", "about.json", "log.txt")


def zip_of(runs: Sequence[Overview]) -> bytes:
    """Write a zip with ``runs.csv``, one row a run, and a folder for each run. Files that a run does not have are left
    out; so are links, unreadable files and those over :data:`MAX_BYTES`, which :data:`LEFT_OUT` lists with the reason.
    """
    memory = io.BytesIO()
    left_out: list[str] = []
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("runs.csv", _table(runs))
        for one in runs:
            for name in (*_AS_IT_IS, *one.row.artifacts):
                # Float32 noise does not get smaller by compression.
                how = zipfile.ZIP_STORED if name.endswith(SUFFIX) else None
                left_out += _add(archive, one.run, name, how)
            for name, text in _measurements(one.run):
                archive.writestr(f"{one.id}/{name}", text)
        if left_out:
            archive.writestr(LEFT_OUT, "\n".join(left_out) + "\n")
    return memory.getvalue()


def bytes_of(runs: Iterable[Overview]) -> int:
    """Estimate how large the archive becomes, in bytes."""
    return sum(count for count in _sizes(runs) if count <= MAX_BYTES)


def too_large(runs: Iterable[Overview]) -> int:
    """Count the files that the archive leaves out because they have more than :data:`MAX_BYTES`."""
    return sum(count > MAX_BYTES for count in _sizes(runs))


def _sizes(runs: Iterable[Overview]) -> Iterable[int]:
    """Sizes in bytes of the files that make up most of an archive."""
    files = (path for one in runs for path in (one.run.metrics, *(one.run.path / name for name in one.row.artifacts)))
    return (path.stat().st_size for path in files if path.is_file() and not path.is_symlink())


def _add(archive: zipfile.ZipFile, run: Run, name: str, how: int | None = None) -> list[str]:
    """Put a file of a run into an archive; return a line that says why not, where the file is there all the same."""
    path = run.path / name
    try:
        data = read_bounded(path, MAX_BYTES, follow=False)
    except UserError as error:
        return [f"{run.id}/{name}: {str(error).removeprefix(f'{path}: ')}"] if os.path.lexists(path) else []
    archive.writestr(f"{run.id}/{name}", data, compress_type=how)
    return []


def _table(runs: Sequence[Overview]) -> str:
    settings = [effective(one) for one in runs]
    names = list(dict.fromkeys(name for fields in settings for name in fields))
    metrics = list(dict.fromkeys(name for one in runs for name in one.last if name not in NOT_METRICS))
    head = ["run", "name", "tags", "state", "seconds", "selected", *metrics, *names]
    now = time.time()
    rows = [
        [
            one.id,
            one.about.name,
            " ".join(one.about.tags),
            one.status.state,
            one.seconds(now),
            one.selected,
            *(one.last.get(name) for name in metrics),
            *(fields.get(name) for name in names),
        ]
        for one, fields in zip(runs, settings, strict=True)
    ]
    return _csv(head, rows)


def _measurements(run: Run) -> Iterable[tuple[str, str]]:
    curves = CurveReader(run).read()
    if curves.loss.steps:
        yield "loss.csv", _csv(["step", "loss"], zip(curves.loss.steps, curves.loss.values, strict=True))
    if curves.metrics:
        by_step: dict[int, dict[str, float]] = {}
        for name, curve in curves.metrics.items():
            for step, value in zip(curve.steps, curve.values, strict=True):
                by_step.setdefault(step, {})[name] = value
        names = list(curves.metrics)
        rows = [[step, *(values.get(name) for name in names)] for step, values in sorted(by_step.items())]
        yield "metrics.csv", _csv(["step", *names], rows)
    if curves.scores:
        long = [
            [term, approach, step, value]
            for (term, approach), curve in curves.scores.items()
            for step, value in zip(curve.steps, curve.values, strict=True)
        ]
        yield "scores.csv", _csv(["term", "approach", "step", "score"], long)


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()
