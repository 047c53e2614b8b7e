"""A merge to be scored: what is merged how, which biases are then put on the model, and the table that comes out.

Planning and reading need no PyTorch; the scoring itself is :mod:`beft_core.merging.evaluate`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from beft_core.config import DEVICES, PRECISIONS
from beft_core.errors import UserError
from beft_core.files.safe_io import read_json_file
from beft_core.merging.merge import METHODS, compare, merge
from beft_core.snapshots.snapshot import SUFFIX, Key, Snapshot, read_snapshot
from beft_core.tasks.registry import TASKS
from beft_core.terms import TERM_KEYS

Values = Mapping[Key, np.ndarray]
"""Bias terms to put on the base model: float32 [layers, width] each."""
BASE, MERGED = "base model", "merged"
"""Names of the first and the last row of the table."""
MOST_POINTS = 51


# --- the configuration of a run of kind "merge" ------------------------------------------------------------


def source_file(number: int) -> str:
    """Name of a source's copy in the run's folder, from 1 on: nothing that a user typed becomes a path."""
    return f"source-{number}{SUFFIX}"


def _whole(low: int, high: float = math.inf) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, str) for item in value)


def _text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


@dataclass(frozen=True)
class MergeConfig:
    """A merge and how it is scored: base, sources and merge on every task, and a line along one parameter."""

    files: tuple[str, ...]
    """Copies of the snapshots in the run's folder, named by :func:`source_file`."""
    titles: tuple[str, ...]
    """How the user knows the snapshots; only shown."""
    sources: tuple[str, ...] = ()
    """:func:`content` of each: evaluations of the same snapshots are found by it."""
    method: str = "mean"
    """A key of ``METHODS``."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Parameters of the method; those that are missing take its defaults."""
    terms: tuple[str, ...] | None = None
    """Trained terms to merge; ``None``: all."""
    points: int = 0
    """Points of the line; 0: no line."""
    limit: int | None = None
    """Most validation examples of a task, drawn once and the same for every row; ``None``: all."""
    task: str = ""
    """The tasks in words, for lists of runs."""
    model: str | None = None
    """Where the base model is, if not under the name that the snapshots give."""
    data_dir: str | None = None
    """Folder with the tasks' data in the official layout, before any environment folder."""
    max_length: int | None = None
    """Tokens per example; ``None``: as the fine-tunes had it."""
    device: str = "auto"
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in ("files", "titles", "sources", "terms"):  # JSON has lists where this record has tuples
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, (expected, holds) in _RULES.items():
            if not holds(getattr(self, name)):
                raise UserError(f"got {name} = {str(getattr(self, name))[:80]!r}", expected)
        if self.files != tuple(source_file(n) for n in range(1, len(self.files) + 1)) or len(self.files) < 2:
            raise UserError(f"got the files {', '.join(self.files)[:80] or 'none'}", f"{source_file(1)} and so on")
        if len(self.titles) != len(self.files) or len(self.sources) not in (0, len(self.files)):
            raise UserError(f"got {len(self.titles)} titles of {len(self.files)} files", "one for each")
        METHODS[self.method].settings(self.settings, len(self.files))

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> MergeConfig:
        """The inverse of :meth:`to_dict`. Raises UserError for unknown or missing fields and wrong values."""
        names = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                raise UserError(f"got the unknown field {name!r}", f"one of {', '.join(names)}")
        if missing := [name for name in ("files", "titles") if name not in values]:
            raise UserError(f"got a merge without {' and '.join(missing)}", "the snapshots to merge")
        return cls(**values)

    @classmethod
    def of(cls, snapshots: Sequence[Snapshot], titles: Sequence[str], **settings: Any) -> MergeConfig:
        """The configuration of a merge of snapshots at hand."""
        return cls(
            files=tuple(source_file(n) for n in range(1, len(snapshots) + 1)),
            titles=tuple(titles),
            sources=tuple(map(content, snapshots)),
            task=" + ".join(dict.fromkeys(s.meta.task for s in snapshots)),
            **settings,
        )


_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "files": ("a list of texts", _texts),
    "titles": ("a list of texts", _texts),
    "sources": ("a list of texts", _texts),
    "method": (f"one of {', '.join(METHODS)}", lambda v: isinstance(v, str) and v in METHODS),
    "settings": ("a table of the method's parameters", lambda v: isinstance(v, dict)),
    "terms": (
        f"some of {', '.join(TERM_KEYS)}, or null",
        lambda v: v is None or (_texts(v) and len(v) > 0 and set(v) <= set(TERM_KEYS)),
    ),
    "points": (f"0, or 2 to {MOST_POINTS}", lambda v: _whole(0, MOST_POINTS)(v) and v != 1),
    "limit": ("a number of examples from 2, or null", lambda v: v is None or _whole(2)(v)),
    "task": ("a text", lambda v: isinstance(v, str)),
    "model": ("a text, or null", _text_or_none),
    "data_dir": ("a text, or null", _text_or_none),
    "max_length": ("a number of tokens from 4, or null", lambda v: v is None or _whole(4)(v)),
    "device": (f"one of {', '.join(DEVICES)}", lambda v: v in DEVICES),
    "precision": (f"one of {', '.join(PRECISIONS)}", lambda v: v in PRECISIONS),
}


def content(snapshot: Snapshot) -> str:
    """SHA-256 over what a merge takes from a snapshot: the same for a file and for its copies."""
    digest = hashlib.sha256(snapshot.meta.to_json().encode())
    for key in snapshot.keys():  # noqa: SIM118 - a method of Snapshot, not of a dict
        digest.update(snapshot.pre(*key).tobytes() + snapshot.post(*key).tobytes())
    return digest.hexdigest()


def read_sources(config: MergeConfig, folder: Path) -> list[Snapshot]:
    """The snapshots of a run, from its folder, under the titles that the user knows.

    Raises:
        UserError: a copy is missing or damaged.
    """
    snapshots = [read_snapshot(folder / name) for name in config.files]
    for snapshot, title in zip(snapshots, config.titles, strict=True):
        snapshot.source = title
    return snapshots


def recorded(snapshots: Sequence[Snapshot]) -> dict[str, Any]:
    """Fields of a RunConfig that scoring the snapshots again must repeat, as they record them: base model, token
    limit, added biases.
    """
    model = snapshots[0].meta.model
    fields: dict[str, Any] = {"model": f"{model.id}@{model.revision}" if model.revision else model.id}
    for snapshot in snapshots:
        # From a stranger's file: taken only where they are what a flag could have said.
        settings = snapshot.meta.hyperparameters
        length, added = settings.get("max_length"), settings.get("add_bias")
        if type(length) is int and 4 <= length <= 2**20:
            fields["max_length"] = max(length, fields.get("max_length", 0))
        if isinstance(added, list) and all(isinstance(term, str) for term in added):
            fields["add_bias"] = tuple(dict.fromkeys([*fields.get("add_bias", ()), *added]))
    return fields


# --- the line: one parameter of the merge from end to end --------------------------------------------------


@dataclass(frozen=True)
class Line:
    """The parameter of a method that a line follows, the others as they are."""

    method: str
    """Method of the points on the line."""
    parameter: str
    label: str
    """In words; ``{first}`` stands for the first snapshot's label."""
    low: float = 0.0
    high: float = 1.0


_SHARE = Line("weighted", "weights", "weight of {first}")
LINES: dict[str, Line] = {
    "mean": _SHARE,
    "weighted": _SHARE,
    "task_arithmetic": Line("task_arithmetic", "scale", "scale λ"),
    "ties": Line("ties", "density", "share of elements kept", low=0.05),
    "dare": Line("dare", "density", "probability to survive", low=0.1),
    "slerp": Line("slerp", "t", "t, from {first} on"),
}
"""Method -> its line. A Fisher average has no parameter, and so no line."""


def line_label(method: str, labels: Sequence[str]) -> str | None:
    """What the line of a method follows, in words; None where there is none."""
    return LINES[method].label.replace("{first}", labels[0]) if method in LINES else None


def position(method: str, settings: Mapping[str, Any], count: int) -> float | None:
    """Where a merge of ``count`` snapshots lies on its method's line; None where there is none."""
    if method not in LINES:
        return None
    name = LINES[method].parameter
    if name == "weights":
        weights = settings.get("weights") or [1.0] * count
        return float(weights[0] / sum(weights))
    return float(settings[name])


def settings_at(method: str, settings: Mapping[str, Any], count: int, x: float) -> dict[str, Any]:
    """Parameters of the merge at a position of the line. Of weights, the others share what the first leaves."""
    line = LINES[method]
    if line.parameter != "weights":
        return {**settings, line.parameter: x}
    others = list(settings.get("weights") or [1.0] * count)[1:]
    others = others if sum(others) > 0 else [1.0] * len(others)
    return {"weights": [x, *((1 - x) * other / sum(others) for other in others)]}


# --- the plan: every set of biases that is scored ----------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """All that is put on the base model, each set of biases once."""

    merged: Snapshot
    rows: dict[str, str]
    """Row of the table -> key of its biases: base model, each source by its label, merged."""
    line: list[tuple[float, str]]
    """(position, key of the biases), in order."""
    values: dict[str, Values]
    """Key -> biases, in the order in which they are scored. The ends of a line are often sources."""
    position: float | None
    """Where the merge itself lies on the line."""


def plan(snapshots: Sequence[Snapshot], config: MergeConfig) -> Plan:
    """What has to be scored.

    Raises:
        UserError: as :func:`beft_core.merging.merge`; different bases are refused with the two names.
    """
    labels = compare(snapshots, terms=config.terms).labels
    merged = merge(snapshots, config.method, terms=config.terms, **config.settings)
    keys = merged.keys()
    values: dict[str, Values] = {}

    def add(biases: Values) -> str:
        digest = hashlib.sha256(b"".join(biases[key].tobytes() for key in keys)).hexdigest()
        values.setdefault(digest, biases)
        return digest

    rows = {BASE: add({key: merged.pre(*key) for key in keys})}
    for label, source in zip(labels, snapshots, strict=True):
        rows[label] = add({key: source.post(*key) for key in keys})
    rows[MERGED] = add({key: merged.post(*key) for key in keys})
    settings = METHODS[config.method].settings(config.settings, len(snapshots))
    at = position(config.method, settings, len(snapshots))
    line: list[tuple[float, str]] = []
    if config.points and at is not None:
        found = LINES[config.method]
        for x in np.linspace(found.low, max(found.high, at), config.points).round(6).tolist():
            options = settings_at(config.method, settings, len(snapshots), x)
            point = merge(snapshots, found.method, terms=config.terms, **options)
            line.append((x, add({key: point.post(*key) for key in keys})))
        line = sorted({*line, (at, rows[MERGED])})
    return Plan(merged, rows, line, values, at)


def tasks_of(snapshots: Sequence[Snapshot]) -> tuple[list[str], dict[str, str]]:
    """Tasks whose head some snapshot has and that can be scored, and those that cannot with the reason."""
    heads = dict.fromkeys(task for snapshot in snapshots for task in snapshot.meta.heads)
    known = [task for task in heads if task in TASKS]
    own = "a table of your own: score it with beft evaluate --train-file"
    return known, {task: own for task in heads if task not in TASKS}


# --- the result: result.json of the run --------------------------------------------------------------------


@dataclass(frozen=True)
class TaskScored:
    """A task of the table."""

    metric: str
    """The metric that counts; its value for each row and point is in the tables."""
    examples: int
    """Validation examples that were scored, of ...
    """
    available: int
    """... so many."""
    data: str
    """Where they came from, in words."""


Scores = dict[str, dict[str, float | None]]
"""Task -> metric -> value; None where the outputs were not finite."""


@dataclass(frozen=True)
class MergeResult:
    """What an evaluation found."""

    tasks: dict[str, TaskScored]
    rows: dict[str, Scores]
    """Base model, each source by its label, merged."""
    line: list[tuple[float, Scores]]
    position: float | None
    """Where the merge itself lies on the line."""
    parameter: str | None
    """What the line follows, in words."""
    left_out: dict[str, str]
    """Task -> why it was not scored."""
    evaluations: int
    """Passes over a task's examples."""
    seconds: float
    device: str
    versions: dict[str, str]

    def value(self, scores: Scores, task: str) -> float | None:
        """The metric that counts, in a row or at a point."""
        return scores[task][self.tasks[task].metric]

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> MergeResult:
        """The inverse of :meth:`to_dict`. Raises UserError for anything that it would not write."""
        try:
            values = dict(table)
            values["tasks"] = {name: TaskScored(**task) for name, task in table["tasks"].items()}
            values["line"] = [(float(x), scores) for x, scores in table["line"]]
            result = cls(**values)
            for scores in [*result.rows.values(), *(scores for _, scores in result.line)]:
                for task in result.tasks:
                    if not isinstance(result.value(scores, task), int | float | None):
                        raise ValueError(f"a value for {task} that is no number")
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise UserError(f"result.json: {error}", "the result of a merge") from None
        return result


def read_result(path: Path) -> MergeResult:
    """``result.json`` of a merge. Raises UserError where it is missing or damaged."""
    return MergeResult.from_dict(read_json_file(path))
