"""Configuration of a dial: which fine-tune is turned, through which factors, on which examples and device."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beft_core.config import DEVICES, PRECISIONS
from beft_core.dials.parts import LAMBDAS, checked_lambdas
from beft_core.errors import UserError
from beft_core.files.json_shape import Anything, ListOf, Maybe, Number, OneOf, Shape, Table, Text
from beft_core.merging.config import content
from beft_core.snapshots.snapshot import SUFFIX, Snapshot

SOURCE = f"source{SUFFIX}"
"""Name of the snapshot's copy in the run's folder."""


@dataclass(frozen=True)
class DialConfig:
    """Configuration of a dial."""

    task: str
    """Name of the task whose head of the snapshot is used, with its validation set."""
    title: str = ""
    """Title of the snapshot as the user knows it; only shown."""
    source: str = ""
    """Hash of the snapshot (:func:`beft_core.merging.config.content`), by which its dials are found again."""
    lambdas: tuple[float, ...] = LAMBDAS
    """Factors of the change; 0 and 1 are always among them."""
    limit: int | None = None
    """Most validation examples, always the same ones; None: all."""
    model: str | None = None
    """Name or folder of the base model, if not the name that the snapshot gives."""
    data_dir: str | None = None
    """Folder with the task's data in the official layout, before any environment folder."""
    max_length: int | None = None
    """Most tokens per example; None: as the fine-tune had it."""
    device: str = "auto"
    precision: str = "float32"
    table: dict[str, Any] | None = None
    """Rows of a table of the user's own, as :func:`beft_core.tasks.sources.user_files.scored_from` reads them."""

    def __post_init__(self) -> None:
        if isinstance(self.lambdas, list | tuple):
            object.__setattr__(self, "lambdas", checked_lambdas(self.lambdas))
        for name, shape in _SHAPES.items():
            value = getattr(self, name)
            if (wrong := shape.wrong(list(value) if isinstance(value, tuple) else value, name)) is not None:
                raise UserError(wrong)

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values, by name."""
        return {**dataclasses.asdict(self), "lambdas": list(self.lambdas)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DialConfig:
        """Read the record of :meth:`to_dict`. Raises UserError for unknown or missing fields and wrong values."""
        names = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                raise UserError(f"got the unknown field {name[:40]!r}", f"one of {', '.join(names)}")
        if "task" not in values:
            raise UserError("got a dial without a task", "the name of the snapshot's head")
        return cls(**values)

    @classmethod
    def of(cls, snapshot: Snapshot, task: str, title: str = "", **settings: Any) -> DialConfig:
        """Configuration of a dial of a snapshot at hand. Raises UserError where that has no head for the task."""
        if task not in snapshot.meta.heads:
            have = ", ".join(sorted(snapshot.meta.heads)) or "none"
            raise UserError(f"got a snapshot without a head for {task[:80]}", f"one of its tasks: {have}")
        return cls(task=task, title=title, source=content(snapshot), **settings)


_SHAPES: dict[str, Shape] = {
    "task": Text(),
    "title": Text(400),
    "source": Text(64),
    "lambdas": ListOf(Number()),
    "limit": Maybe(Number(2, whole=True)),
    "model": Maybe(Text(4096)),
    "data_dir": Maybe(Text(4096)),
    "max_length": Maybe(Number(4, 2**20, whole=True)),
    "device": OneOf(DEVICES),
    "precision": OneOf(PRECISIONS),
    "table": Maybe(Table(others=Anything(1), most=16)),
}
