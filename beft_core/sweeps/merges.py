"""Merges of a sweep: b_v fine-tunes of two tasks, averaged and scored on both (the form of the paper's Table 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.files.safe_io import parse_json, read_bounded
from beft_core.merging.config import MergeConfig
from beft_core.merging.similarity import Similarity, compare
from beft_core.snapshots.snapshot import read_snapshot
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.store import SweepFolder
from beft_core.training.observer import Observer

if TYPE_CHECKING:
    import pandas as pd

TERM, METHOD = "v", "mean"
MAX_BYTES = 16 * 2**20
"""Most bytes of ``merges.json``."""


@dataclass(frozen=True)
class Wanted:
    """Merge that a grid asks for and whose fine-tunes are there."""

    tasks: tuple[str, ...]
    seed: int
    runs: tuple[str, ...]
    """Identities of the fine-tunes, one for each task."""


def wanted_merges(
    spec: SweepSpec, table: pd.DataFrame, folder: SweepFolder, tell: Callable[[str], object] = lambda _: None
) -> list[Wanted]:
    """List the merges of every pair of tasks and every seed, each task by the fine-tune of its best learning rate (mean
    over seeds) and smallest size. Those that lack a snapshot are left out; ``tell`` hears of them.
    """
    found = []
    for pair in spec.merges:
        for seed in spec.seeds:
            runs = [_chosen(table, task, seed) for task in pair.split("+")]
            there = tuple(run for run in runs if run is not None and folder.snapshot(run).is_file())
            if len(there) == len(runs):
                found.append(Wanted(tuple(pair.split("+")), seed, there))
            else:
                tell(f"left out the merge of {pair}, seed {seed}: a snapshot of b_v is missing")
    return found


def are_merged(spec: SweepSpec, runs: Sequence[RunConfig], folder: SweepFolder) -> bool:
    """Say whether the merges that a grid asks for, if any, are in ``merges.json``, and not those of another grid of
    this folder, or of other fine-tunes than are the best ones by now. ``runs``: of the grid, all finished.
    """
    if not spec.merges:
        return True
    if not folder.merges.is_file():
        return False
    try:
        # The strict reader takes an object, and this file is a list.
        text = b'{"merges": ' + read_bounded(folder.merges, MAX_BYTES) + b"}"
        there = parse_json(text, folder.merges.name)["merges"]
        kept = [("+".join(one["tasks"]), one["seed"], tuple(one["runs"])) for one in there]
    except (UserError, TypeError, KeyError):
        return False
    wanted = wanted_merges(spec, folder.table(runs), folder)
    return kept == [("+".join(one.tasks), one.seed, one.runs) for one in wanted]


def merge_pairs(spec: SweepSpec, table: pd.DataFrame, folder: SweepFolder, observer: Observer) -> list[dict[str, Any]]:
    """Merge and score what :func:`wanted_merges` lists, on the examples by which the fine-tunes were scored. What is
    left out is told.
    """
    from beft_core.merging.evaluate import evaluate_merge
    from beft_core.training.inputs import load_data

    results = []
    configs = {identity(config): config for config in spec.runs()}
    settings = {name: spec.settings[name] for name in ("device", "precision") if name in spec.settings}
    for one in wanted_merges(spec, table, folder, observer.message):
        observer.message(f"merge {'+'.join(one.tasks)}, seed {one.seed}")
        snapshots = [read_snapshot(folder.snapshot(run)) for run in one.runs]
        # Not as the snapshots' own names say: the grid may have its data elsewhere, take few of them, or hold some out.
        rows = {task: load_data(configs[run]) for task, run in zip(one.tasks, one.runs, strict=True)}
        config = MergeConfig.of(snapshots, one.tasks, method=METHOD, terms=(TERM,), **settings)
        evaluation = evaluate_merge(snapshots, config, Observer(), rows=rows).result
        comparison = compare(snapshots, terms=(TERM,))
        results.append(
            {
                "tasks": list(one.tasks),
                "seed": one.seed,
                "term": TERM,
                "method": METHOD,
                "runs": list(one.runs),
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


def _chosen(table: pd.DataFrame, task: str, seed: int) -> str | None:
    """Choose the fine-tune of a task; None where there is none of this seed."""
    runs = table[(table["task"] == task) & (table["trains"] == TERM) & (table["state"] == "done")]
    runs = runs[runs["n_train"] == runs["n_train"].min()]
    means = runs.groupby("lr")["value"].mean()
    if means.empty or means.isna().all():
        return None
    one = runs[(runs["lr"] == means.idxmax()) & (runs["seed"] == seed)]
    return str(one.iloc[0]["run"]) if len(one) else None
