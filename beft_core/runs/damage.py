"""Damage of a run folder in words: a damaged run is listed with them, and nothing else suffers from it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from beft_core.errors import UserError
from beft_core.files.plain_file import open_plain
from beft_core.runs.about import read_about
from beft_core.runs.record import METRICS_BYTES, damage_of
from beft_core.runs.run import Run

TAIL_BYTES = 2**16
"""Bytes at the end of the measurements that lists look at."""


def _status(run: Run) -> None:
    run.read_status()


def _config(run: Run) -> None:
    run.config()


def _result(run: Run) -> None:
    run.read_result()


def _about(run: Run) -> None:
    read_about(run)


def _log(run: Run) -> None:
    open_plain(run.log, follow=False).close()


def _metrics(run: Run) -> None:
    with open_plain(run.metrics, follow=False) as file:
        size = file.seek(0, 2)
        if size > METRICS_BYTES:
            raise UserError(f"metrics.jsonl: {size} bytes", f"at most {METRICS_BYTES}")
        file.seek(max(0, size - TAIL_BYTES))
        lines = file.read(TAIL_BYTES).splitlines()
    for line in lines[size > TAIL_BYTES :]:
        if (wrong := damage_of(line)) is not None:
            raise UserError(wrong)


def _snapshot(run: Run) -> None:
    open_plain(run.snapshot, follow=False).close()


FILES: dict[str, tuple[Callable[[Run], None], bool]] = {
    "status.json": (_status, True),
    "config.json": (_config, True),
    "about.json": (_about, False),
    "result.json": (_result, False),
    "metrics.jsonl": (_metrics, False),
    "log.txt": (_log, False),
    "snapshot.beft.safetensors": (_snapshot, False),
}
"""Files of a run folder by name: (function that reads it, whether every run has one)."""


def damage(path: Path) -> str | None:
    """Say what is wrong with one of the ``FILES`` of a run folder; None if nothing is."""
    look, needed = FILES[path.name]
    if not os.path.lexists(path):
        return f"{path.name} is missing" if needed else None
    try:
        look(Run(path.parent))
    except OSError as error:
        return f"{path.name}: {error.strerror}"
    except UserError as error:
        return str(error).replace(f"{path.parent}/", "")
    return None
