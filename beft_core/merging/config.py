"""Configuration of a merge that is scored: what is merged how, and on which examples and device.

Planning and reading need no PyTorch; the scoring itself is :mod:`beft_core.merging.evaluate`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beft_core.config import DEVICES, PRECISIONS
from beft_core.errors import UserError
from beft_core.merging.methods import METHODS
from beft_core.merging.plane import SIDES
from beft_core.presets import MAX_SCALE
from beft_core.snapshots.snapshot import SUFFIX, Snapshot, read_snapshot
from beft_core.tasks.prompts.demonstrations import MAX_DEMONSTRATIONS
from beft_core.tasks.registry import TASKS
from beft_core.terms import TERM_KEYS

MAX_POINTS = 51


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
    """Configuration of a merge that is scored: base, sources and merge on every task, a line along one parameter."""

    files: tuple[str, ...]
    """Copies of the snapshots in the run's folder, named by :func:`source_file`."""
    titles: tuple[str, ...]
    """Titles of the snapshots as the user knows them; only shown."""
    sources: tuple[str, ...] = ()
    """Hashes of the snapshots, :func:`content` of each: evaluations of the same snapshots are found by it."""
    method: str = "mean"
    """Method of merging, a key of ``METHODS``."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Parameters of the method; those that are missing take its defaults."""
    terms: tuple[str, ...] | None = None
    """Trained terms to merge; ``None``: all."""
    points: int = 0
    """Number of points on the line; 0: no line."""
    plane: int = 0
    """Number of points on each side of the plane of two changes; 0: no plane."""
    limit: int | None = None
    """Largest number of validation examples of a task, drawn once and the same for every row; ``None``: all."""
    task: str = ""
    """Names of the tasks in words, for lists of runs."""
    model: str | None = None
    """Name or folder of the base model, if not the name that the snapshots give."""
    data_dir: str | None = None
    """Folder with the tasks' data in the official layout, before any environment folder."""
    max_length: int | None = None
    """Most tokens per example; ``None``: as the fine-tunes had it."""
    device: str = "auto"
    precision: str = "float32"
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Rows on which tasks that are tables of the user's own are scored, by task, as
    :func:`beft_core.tasks.sources.user_files.scored_from` reads it. A task without an entry is left out."""

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
        if self.plane and len(self.files) != 2:
            raise UserError(f"got the plane of {len(self.files)} fine-tunes", "the plane of two")

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values, by name."""
        table = {
            key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(self).items()
        }
        for name in ("tables", "plane"):
            if not table[name]:
                del table[name]  # as before there were any
        return table

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> MergeConfig:
        """Read the record of :meth:`to_dict`. Raises UserError for unknown or missing fields and wrong values."""
        names = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                raise UserError(f"got the unknown field {name!r}", f"one of {', '.join(names)}")
        if missing := [name for name in ("files", "titles") if name not in values]:
            raise UserError(f"got a merge without {' and '.join(missing)}", "the snapshots to merge")
        return cls(**values)

    @classmethod
    def of(cls, snapshots: Sequence[Snapshot], titles: Sequence[str], **settings: Any) -> MergeConfig:
        """Configuration of a merge of snapshots at hand."""
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
    "points": (f"0, or 2 to {MAX_POINTS}", lambda v: _whole(0, MAX_POINTS)(v) and v != 1),
    "plane": (
        f"0, or {', '.join(map(str, SIDES))}, so that the fine-tunes and their average are among the points",
        lambda v: type(v) is int and (v == 0 or v in SIDES),
    ),
    "limit": ("a number of examples from 2, or null", lambda v: v is None or _whole(2)(v)),
    "task": ("a text", lambda v: isinstance(v, str)),
    "model": ("a text, or null", _text_or_none),
    "data_dir": ("a text, or null", _text_or_none),
    "max_length": ("a number of tokens from 4, or null", lambda v: v is None or _whole(4)(v)),
    "device": (f"one of {', '.join(DEVICES)}", lambda v: v in DEVICES),
    "precision": (f"one of {', '.join(PRECISIONS)}", lambda v: v in PRECISIONS),
    "tables": ("a table of tables", lambda v: isinstance(v, dict) and all(isinstance(x, dict) for x in v.values())),
}


def content(snapshot: Snapshot) -> str:
    """Hash (SHA-256) over what a merge takes from a snapshot: the same for a file and for its copies."""
    digest = hashlib.sha256(snapshot.meta.to_json().encode())
    for key in snapshot.keys():  # noqa: SIM118 - a method of Snapshot, not of a dict
        digest.update(snapshot.pre(*key).tobytes() + snapshot.post(*key).tobytes())
    return digest.hexdigest()


def read_sources(config: MergeConfig, folder: Path) -> list[Snapshot]:
    """Read the snapshots of a run from its folder, under the titles that the user knows.

    Raises:
        UserError: a copy is missing or damaged.
    """
    snapshots = [read_snapshot(folder / name) for name in config.files]
    for snapshot, title in zip(snapshots, config.titles, strict=True):
        snapshot.source = title
    return snapshots


def recorded(snapshots: Sequence[Snapshot], task: str | None = None) -> dict[str, Any]:
    """Fields of a RunConfig that scoring the snapshots again must repeat, as they record them: base model, token
    limit, added biases, how it was rewritten.

    ``task``: the one that is scored; a merge of fine-tunes with different token limits has one for each head, and a
    fine-tune whose prompts had demonstrations before them has so on its own task of the registry.
    """
    model = snapshots[0].meta.model
    name = f"{model.id}@{model.revision}" if model.revision else model.id
    fields: dict[str, Any] = {"model": model.folder or name}
    for snapshot in snapshots:
        # From a stranger's file: taken only where they are what a flag could have said.
        settings = snapshot.meta.hyperparameters
        scale = settings.get("rewrite_scale")
        if type(scale) is float and 1 / MAX_SCALE <= scale <= MAX_SCALE:
            fields["rewrite_scale"] = scale
        shown = settings.get("demonstrations")
        if task in TASKS and task == snapshot.meta.task and type(shown) is int and 0 < shown <= MAX_DEMONSTRATIONS:
            fields["demonstrations"] = shown
        head = {} if task is None else snapshot.meta.heads.get(task, {})
        length, added = head.get("max_length", settings.get("max_length")), settings.get("add_bias")
        if type(length) is int and 4 <= length <= 2**20:
            fields["max_length"] = max(length, fields.get("max_length", 0))
        if isinstance(added, list) and all(isinstance(term, str) for term in added):
            fields["add_bias"] = tuple(dict.fromkeys([*fields.get("add_bias", ()), *added]))
    return fields
