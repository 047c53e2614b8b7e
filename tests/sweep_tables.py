"""A made-up result table of a sweep, without chance: every number follows from the arguments, and from no others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from beft_core.scores.approaches import of_probes
from beft_core.scores.table import rank_terms, select_term
from beft_core.sweeps.table import COLUMNS
from beft_core.tasks.registry import TASKS
from beft_core.terms import CANDIDATES, TERM_KEYS

METRICS = {"sst2": "accuracy", "rte": "accuracy", "cola": "mcc", "mrpc": "f1", "stsb": "spearman", "cb": "f1_macro"}
LEVELS = (0.8, 0.7, 0.6)
"""The metric of the winner, the second and the third of q, k and v, at their best learning rate and seed 0."""
OTHERS = {"all": 0.82, "full": 0.85, "head": 0.58, "random": 0.62}
"""The metric of what else is trained."""
BY_REGIME = {"low": 0.0, "medium": 0.02, "high": 0.04, "all": 0.06}
BY_SEED = 0.01
"""Seed 2 is 0.02 above seed 0."""
BY_LR = 0.05
"""Loss of the metric for each place in the list between a learning rate and the best one, which is the last."""
EPOCHS = 4
BY_EPOCH = 0.03
"""Loss of the metric for each epoch before the last; epoch 4 is what ``value`` says."""
TRAINED = {"all": 23_808, "full": 22_713_216, "head": 0, "random": 2_304, "q+v": 4_608}
SELECTS = {"projection_ratio": "v", "magnitude": "q", "magnitude_mean_abs": "q", "fisher": "v", "fisher_batch": "v"}
NORMS = {"q": 4.0, "k": 0.5, "v": 1.0}
"""Pre-trained norm of the candidates, of the other terms 2: the smallest is k's, unless that is null, and then v's."""

Run = tuple[str, str, str, float, int]
"""Task, regime, what is trained, learning rate, seed."""


def make_results(
    tasks: Iterable[str] = ("sst2", "rte"),
    regimes: Iterable[str] = ("low", "medium"),
    lrs: Iterable[float] = (1e-3, 1e-2),
    seeds: Iterable[int] = (0, 1, 2),
    *,
    trains: Iterable[str] = ("v", "q", "k", "all", "head", "random", "full"),
    winners: Mapping[tuple[str, str], str] | None = None,
    selects: Mapping[str, str] | Callable[[str, Run], str] = SELECTS,
    settled: float = 0.25,
    failed: Callable[[Run], bool] = lambda run: False,
    add: Callable[[Run], float] = lambda run: 0.0,
    null: str = "",
    model: str = "bundled",
) -> pd.DataFrame:
    """One row per task, regime, learning rate, seed and kind of fine-tune, with all COLUMNS.

    ``winners``: (task, regime) -> the candidate that does best (elsewhere v); the other two follow in the order q, k,
    v. ``selects``: approach -> the candidate that its probes score highest (or a function of approach and run), the
    other two follow in the same order; the scores of the other terms are between them. ``failed``: which runs failed.
    ``add``: what is added to the metric of a run. ``null``: a term that is certified null, so its scores are 0.
    """
    rows = []
    lrs = tuple(lrs)
    for task in tasks:
        for regime in regimes:
            order = best_first((winners or {}).get((task, regime), "v"))
            for place, lr in enumerate(lrs):
                for seed in seeds:
                    for what in trains:
                        run = (task, regime, what, lr, seed)
                        level = LEVELS[order.index(what)] if what in order else OTHERS.get(what, LEVELS[1])
                        value = level + BY_REGIME[regime] + BY_SEED * seed - BY_LR * (len(lrs) - 1 - place) + add(run)
                        row = _run(run, value, model) if not failed(run) else _failure(run, model)
                        if what == "all" and row["state"] == "done":
                            row |= _probe(run, place, selects, settled, null)
                        row["null_terms"] = null or None
                        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def best_first(winner: str) -> tuple[str, ...]:
    """The candidates, the winner before the others."""
    return (winner, *(term for term in CANDIDATES if term != winner))


def _common(run: Run, model: str) -> dict[str, Any]:
    task, regime, what, lr, seed = run
    n_train = TASKS[task].regimes.get(regime) or 20_000
    return {
        "run": hashlib.sha256(repr((model, *run)).encode()).hexdigest()[:16],
        "model": model,
        "task": task,
        "regime": regime,
        "n_train": n_train,
        "trains": what,
        "lr": lr,
        "epochs": EPOCHS,
        "schedule": "linear",
        "batch_size": 16,
        "seed": seed,
        "precision": "float32",
        "metric": METRICS.get(task, "accuracy"),
        "steps": EPOCHS * -(-n_train // 16),
        "bank_runs": 6,
        "trained_parameters": TRAINED.get(what, 2_304),
        "total_parameters": 22_713_216,
        "device": "a made-up device",
    }


def _run(run: Run, value: float, model: str) -> dict[str, Any]:
    curve = [value - BY_EPOCH * (EPOCHS - epoch) for epoch in range(1, EPOCHS + 1)]
    seconds = {"full": 20.0, "all": 14.0, "random": 13.0}.get(run[2], 12.0) + run[4]
    return _common(run, model) | {
        "state": "done",
        "value": value,
        "best_value": max(curve),
        "best_epoch": int(np.argmax(curve)) + 1,
        "curve": json.dumps(curve),
        "train_loss": 1 - value,
        "seconds": seconds,
    }


def _failure(run: Run, model: str) -> dict[str, Any]:
    return _common(run, model) | {"state": "failed", "failure": "the loss is not a number"}


def _probe(
    run: Run, place: int, selects: Mapping[str, str] | Callable[[str, Run], str], settled: float, null: str
) -> dict[str, Any]:
    """Scores of a probe: the selected term 0.9, the other candidates 0.5 and 0.1 (0.05 more for each place of the
    learning rate in the list), the other terms 0.4, 0.39, 0.38, ... ."""
    row: dict[str, Any] = {}
    for approach in of_probes():
        chosen = selects(approach, run) if callable(selects) else selects[approach]
        scores = dict(
            zip(best_first(chosen), (0.9 + 0.05 * place, 0.5 + 0.05 * place, 0.1 + 0.05 * place), strict=True)
        )
        others = [term for term in TERM_KEYS if term not in scores]
        scores |= {term: 0.4 - 0.01 * n for n, term in enumerate(others)}
        scores |= {null: 0.0} if null else {}
        ranks = rank_terms(scores)
        row |= {f"{approach}.{term}": scores[term] for term in TERM_KEYS}
        row |= {f"rank.{approach}.{term}": ranks[term] for term in TERM_KEYS}
        row[f"selected.{approach}"] = select_term(scores)
        row[f"settled.{approach}"] = settled if approach in ("projection_ratio", "magnitude") else 0.0
    return row | {f"pre_norm.{term}": NORMS.get(term, 2.0) for term in TERM_KEYS}
