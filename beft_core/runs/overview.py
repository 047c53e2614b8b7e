"""Overview of a run in one row: state, settings, name and how it ended; hundreds are read in a moment.

Files are read again only when they have changed, so looking twice at an ended run costs a few calls of ``stat``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from beft_core.errors import UserError
from beft_core.files.plain_file import open_plain
from beft_core.methods import DEFAULT, method_of
from beft_core.runs.about import About, about
from beft_core.runs.damage import FILES, TAIL_BYTES, damage
from beft_core.runs.kinds import Kind, kind_of
from beft_core.runs.record import METRICS_BYTES, record_of
from beft_core.runs.run import Run, list_runs
from beft_core.runs.status import Status
from beft_core.scores.approaches import PAPER
from beft_core.terms import TERMS
from beft_core.training.observer import NOT_METRICS, metric_that_counts

_MAX_EPOCHS = 10_000
"""Most records that are looked through for one with a metric."""
_EPOCH = b'"type": "epoch"'
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Overview:
    """Facts about a run that a list shows."""

    run: Run
    status: Status
    kind: str
    config: Mapping[str, Any]
    """Fields of the run's configuration; empty where ``config.json`` is damaged."""
    about: About
    last: Mapping[str, float]
    """Record of the last epoch that was scored: epoch, step, train_loss and the metrics; empty before that."""
    selected: str | None
    """Term that a probe selects by the projection ratio; None for other runs."""
    has_snapshot: bool
    summary: str = ""
    """Summary of the result in words, where the kind has one: for a sweep the number of fine-tunes."""
    damage: tuple[str, ...] = ()
    """Damage of the run's files, in words; whatever else they hold is shown."""

    @property
    def id(self) -> str:
        return self.run.id

    @property
    def label(self) -> str:
        """Label of the run, unique and the same forever, so that it may stand in links."""
        return f"{self.id[-6:]} {self.trains} on {self.task}{f', {self.seed}' if self.seed else ''}"

    @property
    def seed(self) -> str:
        """Seed in words; empty for a run that draws nothing."""
        return f"seed {self.config['seed']}" if "seed" in self.config else ""

    @property
    def name(self) -> str:
        """Name that people gave the run, else what it does."""
        return self.about.name or self.label

    @property
    def row(self) -> Kind:
        """Kind of the run, a row of the table of kinds."""
        return kind_of(self.kind)

    @property
    def task(self) -> str:
        """Name of the task or tasks, or the file name of the user's own table."""
        return " + ".join(self.tasks)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of all tasks, one by one."""
        return self.row.tasks(self.config)

    @property
    def terms(self) -> tuple[str, ...]:
        """Bias terms that the run was told to train; empty where it does not name them."""
        return self.row.terms(self.config)

    @property
    def trains(self) -> str:
        """Description of what the run trains."""
        return self.row.trains(self.config)

    @property
    def trains_briefly(self) -> str:
        """Description of what the run trains in the few words that a row of a table has room for."""
        return self.row.brief(self.config) if self.row.brief is not None else self.trains

    @property
    def method(self) -> str:
        """Method of a fine-tune in words, such as "bias terms" or "LoRA"; of a run of another kind the kind."""
        if not self.row.single:
            return self.row.name
        return "probe" if self.row.sets else method_of(self.config.get("mode", DEFAULT)).short or "bias terms"

    @property
    def metric(self) -> str | None:
        """Name of the metric that counts: the task's first."""
        return metric_that_counts(self.last)

    @property
    def value(self) -> float | None:
        """Last value of the metric that counts; None before there is one."""
        return self.last[self.metric] if self.metric is not None else None

    def seconds(self, now: float) -> float | None:
        """Seconds from the run's turn on the device to its end, or until now; None where it has not begun or nobody saw
        its end.
        """
        if self.status.began is None:
            return None
        if self.status.ended is None:
            return max(0.0, now - self.status.began) if self.status.active else None
        return max(0.0, self.status.ended - self.status.began)


def overviews(root: Path | None = None) -> list[Overview]:
    """List all runs of the home folder, newest first."""
    return [overview(run) for run in list_runs(root)]


def overview(run: Run) -> Overview:
    """Read one run as it is now. What cannot be read is left out."""
    status = _fresh(_status, run.path / "status.json") or run.recorded()
    kind, config = _fresh(_config, run.path / "config.json") or ("?", {})
    return Overview(
        run,
        run.status() if status.active else status,  # whether its process is there changes no file
        kind,
        config,
        _fresh(_about, run.path / "about.json") or About(),
        _fresh(_last_epoch, run.metrics) or {},
        _fresh(_selected, run.result),
        run.snapshot.is_file(),
        kind_of(kind).summary(_fresh(_result, run.result) or {}),
        tuple(words for name in FILES if (words := _damage(run.path / name)) is not None),
    )


def _damage(path: Path) -> str | None:
    return _fresh(damage, path) if os.path.lexists(path) else damage(path)


def _fresh(read: Callable[[Path], _Read | None], path: Path) -> _Read | None:
    """Read a file by `read`, again only when it changed; None where there is no file."""
    try:
        stat = path.lstat()
    except OSError:
        return None
    return _remembered(read, path, stat.st_ino, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8192)
def _remembered(read: Callable[[Path], Any], path: Path, inode: int, changed: int, size: int) -> Any:
    return read(path)


def _status(path: Path) -> Status:
    return Run(path.parent).recorded()


def _about(path: Path) -> About:
    return about(Run(path.parent))


def _config(path: Path) -> tuple[str, dict[str, Any]] | None:
    try:
        return Run(path.parent).config()
    except UserError:
        return None


def _selected(path: Path) -> str | None:
    chosen = (_result(path) or {}).get("selected") or {}
    term = chosen.get(PAPER)
    return term if term in TERMS else None


def _result(path: Path) -> dict[str, Any] | None:
    try:
        return Run(path.parent).read_result()
    except UserError:
        return None


def _last_epoch(path: Path) -> dict[str, float]:
    """Find the last record of an epoch that names a metric, else the last of any; read from the end of the file."""
    try:
        with open_plain(path, follow=False) as file:
            size = min(file.seek(0, 2), METRICS_BYTES)
            file.seek(max(0, size - TAIL_BYTES))
            found = _epoch_in(file.read(TAIL_BYTES))
            if size > TAIL_BYTES and NOT_METRICS.issuperset(found):
                file.seek(0)
                found = _epoch_in(file.read(size))
    except (OSError, UserError):
        return {}
    return found


def _epoch_in(block: bytes) -> dict[str, float]:
    without_metric: dict[str, float] = {}
    end = len(block)
    for _ in range(_MAX_EPOCHS):
        if (at := block.rfind(_EPOCH, 0, end)) < 0:
            break
        start = block.rfind(b"\n", 0, at) + 1
        end = start
        stop = block.find(b"\n", at)
        try:
            record = record_of(block[start : stop if stop >= 0 else len(block)])
        except UserError:  # cut off, being written, or damaged
            continue
        if record.get("type") != "epoch":
            continue
        values = {k: float(v) for k, v in record.items() if isinstance(v, int | float) and k not in ("seconds", "run")}
        if not NOT_METRICS.issuperset(values):
            return values
        without_metric = without_metric or values
    return without_metric
