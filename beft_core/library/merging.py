"""Merging snapshots from a notebook. Only scoring a merge and measuring Fisher information import torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beft_core.errors import UserError
from beft_core.extras import require_training
from beft_core.library.arguments import listed, run_config
from beft_core.library.comparison import named
from beft_core.library.data import Given
from beft_core.library.progress import watching
from beft_core.library.reading import Source, paths_of, several_of
from beft_core.library.result import Result, Shown, cell
from beft_core.library.snapshot import Snapshot
from beft_core.library.words import in_python, keywords
from beft_core.merging import merge as merging
from beft_core.merging.config import MergeConfig
from beft_core.merging.methods import METHODS
from beft_core.merging.result import MergeResult
from beft_core.merging.shared_terms import shared_keys
from beft_core.runs.tables import recorded_tables
from beft_core.settings.arguments import words
from beft_core.tasks.examples import TaskData
from beft_core.tasks.registry import TASKS
from beft_core.training.observer import Observer

if TYPE_CHECKING:
    import pandas as pd

    from beft_core.library.training import Table


@dataclass(frozen=True, repr=False)
class MergeScores(Result):
    """Scores of base model, sources and merge, each task with its own head: the form of the paper's Table 3."""

    result: MergeResult

    def shown(self) -> Shown:
        columns = [(task, about.metric) for task, about in self.result.tasks.items()]
        rows = [
            [name, *(cell(scores[task][metric]) for task, metric in columns)]
            for name, scores in self.result.rows.items()
        ]
        notes = [f"left out {task}: {keywords(why)}" for task, why in self.result.left_out.items()]
        return Shown("each task with its own head", ["model", *(" ".join(one) for one in columns)], rows, notes)

    def to_pandas(self) -> pd.DataFrame:
        """Give one row per model, task and metric."""
        import pandas as pd

        rows = [
            (name, task, metric, value)
            for name, scores in self.result.rows.items()
            for task, metrics in scores.items()
            for metric, value in metrics.items()
        ]
        return pd.DataFrame(rows, columns=["model", "task", "metric", "value"])


class Merge(Snapshot):
    """Merge, a snapshot that keeps the head of each of its tasks."""

    scored: MergeScores | None = None
    """Scores of base model, sources and merge, where they were asked for."""

    def shown(self) -> Shown:
        return super().shown() if self.scored is None else self.scored.shown()


@in_python
def merge(
    *snapshots: Source | Sequence[Source],
    method: str = "mean",
    terms: str | Iterable[str] | None = None,
    evaluate: bool = False,
    data: Mapping[str, Table] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    model: str | os.PathLike[str] | None = None,
    n_eval: int | None = None,
    max_length: int | None = None,
    precision: str | None = None,
    device: str | None = None,
    progress: bool | None = None,
    observer: Observer | None = None,
    **parameters: Any,
) -> Merge:
    """Merge fine-tunes of one base model into one snapshot, which keeps the head of each task.

    ``snapshots``: two or more, in memory or paths, one by one or as a list. ``method``: a key of
    `beft_core.merging.methods.METHODS`: mean, weighted, task_arithmetic, ties, dare, slerp, fisher. ``terms``: which of
    the trained terms to merge; None: all. ``parameters``: those of the method, such as ``density=0.5``. ``evaluate``:
    score base model, sources and merge on every task, on at most ``n_eval`` examples of each.

    ``data``: rows to score the heads of your own tables on, by the names of the heads: ``{"reviews": "test.csv"}``, or
    a DataFrame, a data set, a dict of columns or a list of rows; columns and labels are those that the snapshot
    records. A head without an entry is scored on what the run recorded whose folder the file lies in, and else left
    out. ``data_dir``: the folder of GLUE and SuperGLUE. ``model``: the base model, where it is not found under the
    name that the snapshots give. ``max_length``, ``precision``, ``device``: as in `train`.

    Torch is imported to evaluate, and where a method weighs by the Fisher information and a snapshot lacks it: then it
    is measured. Both take the base model and the tasks' data.

    Raises:
        UserError: an unknown method or parameter, snapshots of different bases, or without a common term; rows that do
            not fit the head that they are for.
    """
    several = several_of(snapshots)
    only = None if terms is None else words(listed("terms", terms)) or None
    if not isinstance(method, str):
        raise UserError(f"got method = {str(method)[:80]!r}", f"one of {', '.join(METHODS)}")
    if not isinstance(evaluate, bool):
        raise UserError(f"got evaluate = {str(evaluate)[:80]!r}", "True or False")
    if data is not None and not evaluate:
        raise UserError("got data for a merge that is not scored", "both", "evaluate=True")
    where = {"data_dir": data_dir, "model": model, "max_length": max_length, "precision": precision, "device": device}
    where = {
        name: os.fspath(value) if isinstance(value, os.PathLike) else value
        for name, value in where.items()
        if value is not None
    }
    run = run_config(None, where)
    rows = _rows({} if data is None else data, several)
    measures = method in METHODS and METHODS[method].needs_fisher and not all(map(merging.has_tuned_fisher, several))
    if not measures and not evaluate:
        return Merge.of(merging.merge(several, method, terms=only, **parameters))
    require_training()
    shared_keys(several, only)  # what cannot be merged anyway is told before anything is loaded
    trained_on = {task: table.to_dict() for task, table in recorded_tables(several, paths_of(snapshots)).items()}
    with watching(progress, observer) as watched:
        watched.stage("start PyTorch")
        from beft_core.merging.evaluate import evaluate_merge
        from beft_core.training.fisher.of_snapshots import with_tuned_fisher

        complete = with_tuned_fisher(several, run, watched, trained_on) if measures else several
        merged = Merge.of(merging.merge(complete, method, terms=only, **parameters))
        if evaluate:
            config = MergeConfig.of(
                complete,
                named(several, None),
                method=method,
                settings=parameters,
                terms=only,
                limit=n_eval,
                tables=trained_on,
                **where,
            )
            merged.scored = MergeScores(evaluate_merge(complete, config, watched, rows=rows).result)
    return merged


def _rows(data: object, snapshots: Sequence[Snapshot]) -> dict[str, TaskData]:
    """Read the rows to score the heads of the user's own tables on, by task. Raises UserError."""
    heads: dict[str, Snapshot] = {}
    for snapshot in snapshots:
        for task in snapshot.meta.heads:
            if task not in TASKS:
                heads.setdefault(task, snapshot)  # the first, as the merge takes it
    if not isinstance(data, Mapping):
        example = next(iter(heads), "reviews")
        raise UserError(f"got a {type(data).__name__} as data", "a dict of tables", f"data={{{example!r}: table}}")
    for task in data:
        if task not in heads:
            known = ", ".join(heads) or "no head: none of the snapshots was trained on a table of your own"
            raise UserError(f"got data for {str(task)[:80]!r}", known)
        if data[task] is None:
            raise UserError(f"got None as the data of {task}", "a table, or the path of one")
    return {task: Given(data=table).scored(heads[task], task) for task, table in data.items()}
