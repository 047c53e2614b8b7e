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
    return RunConfig.from_dict({name: list(v) if isinstance(v, tuple) else v for name, v in fields.items()})


def is_again(one: SnapshotMeta, other: SnapshotMeta, ignoring: str) -> bool:
    """Whether two snapshots are of one fine-tune, but for one hyper-parameter."""

    def facts(meta: SnapshotMeta) -> tuple[Any, ...]:
        settings = hyperparameters(meta.hyperparameters)
        compared = ("lr", "epochs", "schedule", "batch_size", "precision", "train_null", "add_bias", ignoring)
        kept = [str(settings.get(name)) for name in compared if name != ignoring]
        return (meta.model.id, meta.model.folder, meta.task, meta.n_train, meta.seed, meta.mode, *kept)

    return facts(one) == facts(other)
