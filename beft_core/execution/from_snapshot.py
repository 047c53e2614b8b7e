"""Configuration of the fine-tune that a snapshot records, to do it again with changes."""

from __future__ import annotations

import dataclasses
from typing import Any

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.merging.config import recorded
from beft_core.presets import hyperparameters
from beft_core.snapshots.snapshot import Snapshot, SnapshotMeta
from beft_core.tasks.registry import TASKS

_SETTINGS = frozenset(field.name for field in dataclasses.fields(RunConfig))
_DEFAULTS: dict[str, Any] = {
    field.name: field.default
    for field in dataclasses.fields(RunConfig)
    if field.name not in ("model", "task", "mode", "terms", "layers", "seed", "n_train", "regime", "device")
    and field.name not in ("preset", "pad")  # what a preset filled in is recorded, and a layout is no part of a result
}
"""Settings that tell fine-tunes apart, as they are where nobody says them."""


def config_of_snapshot(snapshot: Snapshot) -> RunConfig:
    """Give the configuration of a snapshot's fine-tune, as far as its file records it.

    Raises:
        UserError: its task is none of the registry, or it records a setting that no fine-tune has.
    """
    meta = snapshot.meta
    if meta.task not in TASKS:
        raise UserError(
            f"got a fine-tune of {meta.task}, whose table the snapshot does not hold", "a task that beft tasks lists"
        )
    settings: dict[str, Any] = {
        name: value for name, value in hyperparameters(meta.hyperparameters).items() if name in _SETTINGS
    }
    size = {"n_train": meta.n_train} if meta.n_train is not None else {"regime": "all"}
    fields = {**settings, **recorded([snapshot]), "task": meta.task, **size, "seed": meta.seed or 0}
    fields["layers"] = meta.layers
    return RunConfig.from_dict({name: list(v) if isinstance(v, tuple) else v for name, v in fields.items()})


def is_again(one: SnapshotMeta, other: SnapshotMeta, ignoring: str) -> bool:
    """Whether two snapshots are of one fine-tune, but for one hyper-parameter."""

    def facts(meta: SnapshotMeta) -> tuple[Any, ...]:
        known = hyperparameters(meta.hyperparameters)
        # What a file does not record was not set; JSON has lists where there were tuples.
        kept = {name: known.get(name, default) for name, default in _DEFAULTS.items() if name != ignoring}
        said = [str(list(value) if isinstance(value, tuple) else value) for value in kept.values()]
        where = (meta.model.id, meta.model.folder, meta.task, meta.n_train, meta.seed, meta.mode, meta.layers)
        return (*where, bool(known.get("stopped_early")), *said)

    return facts(one) == facts(other)
