"""Workflows, what each kind of run does, as its row in :data:`beft_core.runs.kinds.KINDS` names it.

Each function imports what it needs inside: what begins with PyTorch is imported when the run's turn has come.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from beft_core import environment, extras
from beft_core.execution.executors import executor_of
from beft_core.execution.fleet import sweep_here
from beft_core.imports import imported
from beft_core.runs.kinds import KINDS, PROBE_COPY
from beft_core.runs.run import Run
from beft_core.snapshots.snapshot import Snapshot, read_snapshot
from beft_core.training.observer import Observer

Outcome = tuple[Snapshot | None, dict[str, Any] | None]
"""Pair of a run's snapshot and the content of its ``result.json``, each None where the run has none."""
Workflow = Callable[[dict[str, Any], Observer, Path], Outcome]
"""Function that does a run of one kind: (fields of its configuration, observer, checkpoint in the run's folder) ->
outcome.
"""
AnyWorkflow = Callable[[str, dict[str, Any], Observer, Path], Outcome]
"""Function that does a run of any kind: (kind, and what a :data:`Workflow` takes) -> outcome."""


def real_workflow(kind: str, fields: dict[str, Any], observer: Observer, checkpoint: Path) -> Outcome:
    """Do a run by the workflow that its kind's row names.

    Raises:
        UserError: a variable of the environment, the configuration or what it names is wrong, or PyTorch is missing.
    """
    environment.check()
    extras.require_training()
    workflow: Workflow = imported(KINDS[kind].workflow)
    return workflow(fields, observer, checkpoint)


def fine_tune(fields: dict[str, Any], observer: Observer, checkpoint: Path) -> Outcome:
    """Do a run of one fine-tune."""
    from beft_core.config import RunConfig

    config = RunConfig.from_dict(fields)
    observer.stage("start PyTorch")
    from beft_core.training import workflow

    return workflow.train(config, observer, checkpoint=checkpoint), None


def probe(fields: dict[str, Any], observer: Observer, checkpoint: Path) -> Outcome:
    """Fine-tune all biases, score every term and select one by each approach."""
    from beft_core.config import RunConfig

    config = RunConfig.from_dict(fields)
    observer.stage("start PyTorch")
    from beft_core.training import workflow

    selection = workflow.select(config, observer, checkpoint=checkpoint)
    means = json.loads(selection.scores.means.to_json(orient="records"))
    return selection.snapshot, {"selected": selection.selected, "means": means}


def check(fields: dict[str, Any], observer: Observer, checkpoint: Path) -> Outcome:
    """Train each of b_q, b_k and b_v alone, as the probe in the run's folder was trained, and judge its selection."""
    from beft_core.config import RunConfig

    config = RunConfig.from_dict(fields)
    probe = read_snapshot(checkpoint.parent / PROBE_COPY)
    observer.stage("start PyTorch")
    from beft_core.training import workflow

    verdict = workflow.check(probe, config, observer, checkpoint)
    return None, {"verdict": verdict.to_dict()}


def merge_evaluation(fields: dict[str, Any], observer: Observer, checkpoint: Path) -> Outcome:
    """Merge the snapshots in the run's folder and score the merge on all their tasks."""
    from beft_core.merging.config import MergeConfig, read_sources

    config = MergeConfig.from_dict(fields)
    sources = read_sources(config, checkpoint.parent)
    observer.stage("start PyTorch")
    from beft_core.merging.evaluate import evaluate_merge

    evaluation = evaluate_merge(sources, config, observer, checkpoint)
    return evaluation.merged, evaluation.result.to_dict()


def dial(fields: dict[str, Any], observer: Observer, checkpoint: Path) -> Outcome:
    """Turn the fine-tune in the run's folder up, down and off, and score it each time."""
    from beft_core.dials.config import SOURCE, DialConfig
    from beft_core.snapshots.snapshot import read_snapshot

    config = DialConfig.from_dict(fields)
    snapshot = read_snapshot(checkpoint.parent / SOURCE)
    observer.stage("start PyTorch")
    from beft_core.dials.measure import measure

    return None, measure(snapshot, config, observer).to_dict()


def sweep(fields: dict[str, Any], observer: Observer, checkpoint: Path) -> Outcome:
    """Do every fine-tune of a grid that the run's sweep folder does not have yet."""
    from beft_core.sweeps.spec import SweepSpec
    from beft_core.sweeps.store import SweepFolder

    spec = SweepSpec.from_dict(fields)
    run = Run(checkpoint.parent)
    others = executor_of(run).helpers(run)
    return None, dataclasses.asdict(sweep_here(spec, SweepFolder(run.sweep), observer, others=others))


def estimated(config: dict[str, Any], kind: str) -> dict[str, Any]:
    """Estimate what a single fine-tune of a kind will take, by real steps:
    :func:`beft_core.training.estimate.count.answer`.

    Raises:
        UserError: the configuration, its model or its data are wrong.
    """
    from beft_core.training.estimate import count

    return count.answer({**config, **KINDS[kind].sets})
