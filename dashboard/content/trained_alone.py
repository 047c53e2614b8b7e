"""What each candidate reached when it was trained alone, of the snapshots that are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from beft_core.scores.regimes import Measured, metrics_alone, one_per_seed, only_term, same_task
from beft_core.snapshots.meta import SnapshotMeta
from beft_core.tasks.registry import TASKS


def task_title(task: str) -> str:
    """Name a task, in words where it is a known one."""
    return TASKS[task].title if task in TASKS else task


def measured_alone(like: SnapshotMeta, among: Sequence[SnapshotMeta]) -> list[Measured]:
    """Collect the metric of each candidate trained alone, by the model, on the task and as much data as `like`."""
    alone = kept_alone(meta for meta in among if same_task(meta, like))
    return [m for m in metrics_alone(alone) if m.n_train == like.n_train]


def kept_alone(metas: Iterable[SnapshotMeta]) -> list[SnapshotMeta]:
    """Keep the fine-tunes of one candidate, one per seed."""
    alone = [meta for meta in metas if only_term(meta)]
    return [alone[at] for at in one_per_seed(alone)]
