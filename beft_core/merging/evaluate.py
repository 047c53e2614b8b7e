"""Scoring of a merge: the base model and every task's data are loaded once, then one set of biases after the other."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.files.safe_io import parse_json
from beft_core.files.safetensors_file import SafetensorsFile, write_safetensors
from beft_core.merging.config import MergeConfig, recorded
from beft_core.merging.curve import line_label
from beft_core.merging.methods import METHODS
from beft_core.merging.plan import plan, tasks_of
from beft_core.merging.result import BASE, MergeResult, Scores, TaskScored
from beft_core.models.biases import LoadedModel, write_biases
from beft_core.snapshots.changed_weights import refuse_changed_weights
from beft_core.snapshots.snapshot import MAX_HEADER, Snapshot
from beft_core.tasks.examples import Examples, TaskData, subsample
from beft_core.tasks.predictions import predictions_of
from beft_core.tasks.sources.user_files import scored_from
from beft_core.training import inputs
from beft_core.training.evaluate import load_base, scorer
from beft_core.training.fisher.of_snapshots import with_tuned_fisher
from beft_core.training.observer import Observer
from beft_core.training.precision import Precision, pick_device
from beft_core.training.preconditions import head_of, inputs_of, require_suited
from beft_core.training.result import device_name, software_versions

Score = Callable[[], dict[str, float]]
"""Function that computes the metrics of the model as its biases are now."""


@dataclass(frozen=True)
class MergeEvaluation:
    """Result of an evaluation: the merge, and its scores beside those of base model and sources."""

    merged: Snapshot
    result: MergeResult


def evaluate_merge(
    snapshots: Sequence[Snapshot],
    config: MergeConfig,
    observer: Observer | None = None,
    checkpoint: Path | None = None,
    rows: Mapping[str, TaskData] = MappingProxyType({}),
) -> MergeEvaluation:
    """Score base model, sources and merge on every task, and the merge along its method's line.

    Each task is scored under its own head, in the form of the paper's Table 3.

    A task whose data cannot be had is left out, with the reason. ``checkpoint``: a file that keeps every score; where
    it exists, what it holds is not computed again. ``rows``: by task, validation rows that are in memory: what the
    configuration says of such a task is not read.

    Raises:
        UserError: snapshots of different bases, a base model that cannot be found, or no task that is left.
    """
    observer = observer or Observer()
    began = time.monotonic()
    for snapshot in snapshots:
        refuse_changed_weights(snapshot)
    given = {
        name: getattr(config, name)
        for name in ("model", "data_dir", "max_length", "device", "precision")
        if getattr(config, name) is not None
    }
    if METHODS[config.method].needs_fisher:
        snapshots = with_tuned_fisher(snapshots, RunConfig(**given), observer, config.tables)
    work = plan(snapshots, config)
    fields = recorded(snapshots) | given
    observer.stage("load data")
    tasks, left_out = tasks_of([work.merged], {*config.tables, *rows})
    data: dict[str, TaskData] = {}
    for task in tasks:
        try:
            if task in rows or task in config.tables:
                own = rows.get(task) or scored_from(config.tables[task], task, work.merged.meta.heads[task])
            else:
                own = inputs.load_data(RunConfig(**fields, task=task, inputs=inputs_of(work.merged, task)))
            require_suited(work.merged, own.spec)
            data[task] = own
        except UserError as error:
            left_out[task] = str(error)
    if not data:
        reasons = "; ".join(f"{task}: {reason}" for task, reason in left_out.items()) or "no snapshot has a head"
        raise UserError(f"got no task that can be scored ({reasons})", "snapshots of tasks whose data is here")
    for task, reason in left_out.items():
        observer.message(f"left out {task}: {reason}")

    observer.stage("load model")
    run = RunConfig(**fields)
    model = load_base(work.merged, run)
    precision = Precision(run.precision, pick_device(run.device))
    precision.prepare(model.backbone.to(precision.device))
    scorers, scored = {}, {}
    logits: dict[str, dict[str, np.ndarray]] = {task: {} for task in data}  # of the last score, by validation set
    sets: dict[str, dict[str, Examples]] = {}
    for task, loaded in data.items():
        sets[task] = _limited(loaded, config.limit)
        # Not to the limit of another: where a head records none, the default counts, as where it is scored alone.
        own_fields = {"max_length": RunConfig.max_length} | recorded([work.merged], task) | given
        scorers[task], scored[task] = _scorer(
            work.merged,
            task,
            loaded,
            sets[task],
            model,
            dataclasses.replace(run, **own_fields),
            precision,
            observer,
            logits[task],
        )

    known = _Known(
        checkpoint,
        [
            *work.values,
            *data,
            str(config.limit),
            *map(str, work.merged.meta.model.base),
            *_own_rows(data, {*config.tables, *rows}),
        ],
    )
    parameter = line_label(config.method, [row for row in work.rows if row != BASE])
    names = {key: f"{parameter} {x:g}" for x, key in work.line}
    names |= {key: f"{alpha:g} and {beta:g} of the changes" for alpha, beta, key in work.plane if key not in names}
    names |= {key: row for row, key in work.rows.items()}
    observer.stage("evaluate", len(work.values) * sum(task.examples for task in scored.values()))
    for key, values in work.values.items():
        write_biases(model, values)
        for task, score in scorers.items():
            if (key, task) in known:
                observer.advance(scored[task].examples)
                continue
            found = score()
            known.add(key, task, found)
            for row in (row for row, of_row in work.rows.items() if of_row == key):
                of_sets = [(name, sets[task][name], values) for name, values in logits[task].items()]
                if of_sets:  # free text has none
                    observer.predicted(predictions_of(task, of_sets, row))
            first = scored[task].metric
            observer.message(f"{names[key]} on {task}: {first} {100 * found[first]:.1f} %")

    def of(key: str) -> Scores:
        return {task: known[key, task] for task in data}

    result = MergeResult(
        tasks=scored,
        rows={row: of(key) for row, key in work.rows.items()},
        line=[(x, of(key)) for x, key in work.line],
        plane=[(alpha, beta, of(key)) for alpha, beta, key in work.plane],
        position=work.position,
        parameter=parameter,
        left_out=left_out,
        evaluations=len(work.values) * len(data),
        seconds=round(time.monotonic() - began, 3),
        device=device_name(precision.device),
        versions=software_versions(),
    )
    return MergeEvaluation(work.merged, result)


def _scorer(
    merged: Snapshot,
    task: str,
    data: TaskData,
    evals: Mapping[str, Examples],
    model: LoadedModel,
    config: RunConfig,
    precision: Precision,
    observer: Observer,
    logits: dict[str, np.ndarray],
) -> tuple[Score, TaskScored]:
    """Tokenise a task's validation sets once, under the task's own head; ``logits`` receives those of each score."""
    count = sum(map(len, evals.values()))
    observer.stage(f"tokenise {task}", count)
    about = TaskScored(inputs.primary_metric(data), count, sum(map(len, data.evals.values())), data.source)
    head = head_of(merged, task)
    return scorer(model, head, data, evals, config.max_length, precision, observer, logits), about


def _limited(data: TaskData, limit: int | None) -> dict[str, Examples]:
    """Take at most ``limit`` examples of each validation set."""
    return {
        name: subsample(examples, None if limit is None else min(limit, len(examples)), seed=0)
        for name, examples in data.evals.items()
    }


def _own_rows(data: Mapping[str, TaskData], own: Collection[str]) -> list[str]:
    """Identify the rows of the user's own tables, tasks ``own``: another file is other work."""
    evals = [part for task in data if task in own for part in data[task].evals.values()]
    rows = [
        json.dumps([part.text, part.text_pair, part.labels.tolist(), *([part.candidates] if part.candidates else [])])
        for part in evals
    ]
    return [hashlib.sha256(text.encode()).hexdigest() for text in rows]


class _Known:
    """Store of scores by biases and task; with a path, each is on disk as soon as it is known."""

    def __init__(self, path: Path | None, identity: Sequence[str]) -> None:
        self._path = path
        versions = json.dumps(software_versions(), sort_keys=True)
        self._identity = hashlib.sha256("\n".join([*identity, versions]).encode()).hexdigest()
        self._table: dict[str, dict[str, float | None]] = {}
        if path is not None and path.is_file():
            self._table = self._read(path)

    def _read(self, path: Path) -> dict[str, Any]:
        """Read what an interrupted run of the same work left; nothing of a damaged file or of other work."""
        try:
            kept = parse_json(SafetensorsFile(path, max_header=MAX_HEADER).metadata.get("merge", ""), path.name)
        except UserError:
            return {}
        return dict(kept["scores"]) if kept.get("identity") == self._identity else {}

    def __contains__(self, place: tuple[str, str]) -> bool:
        return " ".join(place) in self._table

    def __getitem__(self, place: tuple[str, str]) -> dict[str, float | None]:
        return self._table[" ".join(place)]

    def add(self, key: str, task: str, metrics: dict[str, float]) -> None:
        self._table[f"{key} {task}"] = {n: value if math.isfinite(value) else None for n, value in metrics.items()}
        if self._path is not None:
            text = json.dumps({"identity": self._identity, "scores": self._table}, allow_nan=False)
            write_safetensors(self._path, {}, {"merge": text})
