"""Merges of a sweep: b_v fine-tunes of two tasks, averaged and scored on both (the form of the paper's Table 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beft_core.merging.config import MergeConfig
from beft_core.merging.similarity import Similarity, compare
from beft_core.snapshots.snapshot import read_snapshot
from beft_core.sweeps.spec import SweepSpec
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer

if TYPE_CHECKING:
    import pandas as pd

TERM, METHOD = "v", "mean"


def merge_pairs(spec: SweepSpec, table: pd.DataFrame, folder: SweepFolder, observer: Observer) -> list[dict[str, Any]]:
    """Merge and score every pair of tasks for every seed, each task by the fine-tune of its best learning rate (mean
    over seeds) and smallest size. Pairs that lack a snapshot are left out and told.
    """
    from beft_core.merging.evaluate import evaluate_merge

    results = []
    for pair in spec.merges:
        tasks = pair.split("+")
        for seed in spec.seeds:
            rows = [_chosen(table, task, seed) for task in tasks]
            files = [folder.snapshot(row["run"]) for row in rows if row is not None]
            if len(files) < len(tasks) or not all(file.is_file() for file in files):
                observer.message(f"left out the merge of {pair}, seed {seed}: a snapshot of b_v is missing")
                continue
            observer.message(f"merge {pair}, seed {seed}")
            snapshots = [read_snapshot(file) for file in files]
            settings = {name: spec.settings[name] for name in ("device", "precision") if name in spec.settings}
            tables = {task: spec.tables[task].to_dict() for task in tasks if task in spec.tables}
            config = MergeConfig.of(snapshots, tasks, method=METHOD, terms=(TERM,), tables=tables, **settings)
            evaluation = evaluate_merge(snapshots, config, Observer()).result
            comparison = compare(snapshots, terms=(TERM,))
            results.append(
                {
                    "tasks": tasks,
                    "seed": seed,
                    "term": TERM,
                    "method": METHOD,
                    "runs": [row["run"] for row in rows if row is not None],
                    # Of the biases after the fine-tune, as the paper words it, and of what the fine-tunes changed.
                    **_angle("", comparison.values),
                    **_angle("_of_change", comparison.differences),
                    "metrics": {task: scored.metric for task, scored in evaluation.tasks.items()},
                    "rows": {
                        name: {task: evaluation.value(scores, task) for task in evaluation.tasks}
                        for name, scores in evaluation.rows.items()
                    },
                }
            )
    return results


def _angle(suffix: str, similarity: Similarity) -> dict[str, float]:
    cosine, angle = similarity.cosine[0, 1], similarity.angle_degrees[0, 1]
    return {f"cosine{suffix}": float(cosine), f"angle{suffix}": float(angle)}


def _chosen(table: pd.DataFrame, task: str, seed: int) -> dict[str, Any] | None:
    runs = table[(table["task"] == task) & (table["trains"] == TERM) & (table["state"] == "done")]
    runs = runs[runs["n_train"] == runs["n_train"].min()]
    means = runs.groupby("lr")["value"].mean()
    if means.empty or means.isna().all():
        return None
    one = runs[(runs["lr"] == means.idxmax()) & (runs["seed"] == seed)]
    return one.iloc[0].to_dict() if len(one) else None
