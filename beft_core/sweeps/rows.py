"""Rows of the result table, one for each fine-tune."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from beft_core.architectures.certified import certified
from beft_core.config import RunConfig
from beft_core.methods import method_of
from beft_core.scores.approaches import of_probes
from beft_core.scores.formulas import Movement
from beft_core.scores.table import score_snapshot, select_term
from beft_core.snapshots.snapshot import Snapshot
from beft_core.sweeps.norms import pre_norms
from beft_core.sweeps.spec import identity, trains
from beft_core.terms import CANDIDATES

if TYPE_CHECKING:
    import pandas as pd

MEMORY_RAN_OUT = "memory ran out"
"""First words of the failure of a fine-tune for which memory did not suffice; of every other kind, the reason lies in
the fine-tune itself, which would fail again.
"""


def lacked_memory(row: Mapping[str, Any]) -> bool:
    """Say whether the fine-tune of a row failed because memory ran out: it may go well elsewhere, or later."""
    return row.get("state") == "failed" and str(row.get("failure")).startswith(MEMORY_RAN_OUT)


def count_lacking_memory(table: pd.DataFrame) -> int:
    """Count the rows of a result table whose fine-tune :func:`lacked_memory`."""
    failed = table.loc[table["state"] == "failed", ["state", "failure"]]
    return sum(map(lacked_memory, failed.to_dict("records")))


def row_of(
    config: RunConfig,
    snapshot: Snapshot,
    *,
    seconds: float,
    bank_runs: int,
    peak_bytes: int | None = None,
    failure: str | None = None,
    file: str | None = None,
) -> dict[str, Any]:
    """Make the row of a fine-tune: JSON values by column; columns without a value are left out.

    ``seconds``: the run's share of its bank. ``peak_bytes``: most memory of the bank. ``file``: name of the snapshot
    where it was kept.
    """
    meta = snapshot.meta
    row = {
        **plan_columns(config),
        "n_train": meta.n_train,
        "metric": meta.metric,
        "trained_parameters": meta.trained_parameters,
        "total_parameters": meta.total_parameters,
        "seconds": round(seconds, 4),
        "bank_runs": bank_runs,
        "peak_bytes": peak_bytes,
        "device": meta.device,
        "null_terms": "+".join(meta.null_terms),
        "state": "done",
    }
    if failure is not None:
        return {**row, "state": "failed", "failure": failure}
    row |= _metrics(snapshot) | _scores(snapshot) | pre_norms({key: snapshot.pre(*key) for key in snapshot.keys()})  # noqa: SIM118
    row["steps"] = meta.hyperparameters.get("steps")
    if file is not None:
        row["snapshot"] = file
    return row


def plan_columns(config: RunConfig) -> dict[str, Any]:
    """Make the columns that a resolved configuration alone determines."""
    return {
        "run": identity(config),
        "model": config.model,
        "task": config.task,
        "regime": config.regime,
        "n_train": config.n_train,
        "trains": trains(config),
        "lr": config.lr,
        "epochs": config.epochs,
        "schedule": config.schedule,
        "adam_epsilon": config.adam_epsilon,
        "adam_epsilon_at": config.adam_epsilon_at,
        "batch_size": config.batch_size,
        "seed": config.seed,
        "precision": config.precision,
    }


def _metrics(snapshot: Snapshot) -> dict[str, Any]:
    name = snapshot.meta.metric
    curve = [row.get(name) for row in snapshot.meta.metrics] if name else []
    row: dict[str, Any] = {"curve": json.dumps(curve), "value": curve[-1] if curve else None}
    known = [value for value in curve if value is not None]
    if known:
        best = max(known)
        row |= {"best_value": best, "best_epoch": curve.index(best) + 1}
    if snapshot.meta.metrics:
        row["train_loss"] = snapshot.meta.metrics[-1].get("train_loss")
    return row


def _scores(snapshot: Snapshot) -> dict[str, Any]:
    row: dict[str, Any] = {}
    if not snapshot.keys():  # the head, or every weight, of a model without biases
        return row
    table = score_snapshot(snapshot)
    for approach in table.approaches:
        scores = table.mean_scores(approach)
        ranks = table.ranks(approach)
        row |= {f"{approach}.{term}": score for term, score in scores.items()}
        row |= {f"rank.{approach}.{term}": rank for term, rank in ranks.items()}
        if method_of(snapshot.meta.mode).every_bias:
            row[f"selected.{approach}"] = table.selected()[approach]
    return row | {f"settled.{approach}": share for approach, share in settled(snapshot).items()}


def settled(snapshot: Snapshot) -> dict[str, float]:
    """Compute for each approach the share of the probe after which its selection among q, k and v never changed again.

    Approaches that do not look at the fine-tune, such as Fisher, need none of it: 0. Empty without a trajectory.
    """
    steps = snapshot.trajectory_step
    if steps is None or not method_of(snapshot.meta.mode).every_bias:
        return {}
    stack = snapshot.keys()[0][0]
    null = certified(snapshot.meta).terms
    followed = {
        term: snapshot.steps(stack, term)
        for term in CANDIDATES
        if (stack, term) in snapshot.keys() and term not in null  # noqa: SIM118 - a method of Snapshot
    }
    shares: dict[str, float] = {}
    for key, approach in of_probes().items():
        if approach.needs != "movement":
            variant: Literal["exact", "batch"] = "batch" if approach.needs == "fisher_batch" else "exact"
            if snapshot.fisher(*snapshot.keys()[0], variant) is not None:
                shares[key] = 0.0
            continue
        chosen = []
        for number in range(len(steps)):
            scores = {
                term: float(np.mean(approach.per_layer(Movement(snapshot.pre(stack, term), values[number]))))
                for term, values in followed.items()
                if values is not None and not (approach.from_start and not snapshot.pre(stack, term).any())
            }
            chosen.append(select_term(scores))
        changed = [number for number, term in enumerate(chosen) if term != chosen[-1]]
        shares[key] = float(steps[changed[-1] + 1] / steps[-1]) if changed else 0.0
    return shares


def without_trajectory(snapshot: Snapshot) -> Snapshot:
    """Copy a snapshot without its trajectory, in an eighth of the bytes."""
    keys = snapshot.keys()
    exact = {key: snapshot.fisher(*key) for key in keys}
    batch = {key: snapshot.fisher(*key, "batch") for key in keys}
    tuned = {key: snapshot.fisher(*key, "tuned") for key in keys}
    made = Snapshot.build(
        snapshot.meta,
        {key: snapshot.pre(*key) for key in keys},
        {key: snapshot.post(*key) for key in keys},
        fisher={key: value for key, value in exact.items() if value is not None},
        fisher_batch={key: value for key, value in batch.items() if value is not None},
        fisher_tuned={key: value for key, value in tuned.items() if value is not None},
        extra=dict(snapshot.extra),
    )
    made.adapter = snapshot.adapter
    return made
