"""Tools that tests of the reproduction share: a machine without data, and sweeps that are finished without training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_comparisons import comparison
from made_comparisons import row as made_row

from beft_core.comparison.folder import ComparisonFolder
from beft_core.config import RunConfig
from beft_core.reports.methods.table import write_comparison
from beft_core.reproduction.plan import Plan, Step
from beft_core.scores.approaches import of_probes
from beft_core.scores.table import rank_terms, select_term
from beft_core.sweeps.rows import plan_columns
from beft_core.sweeps.spec import SweepSpec
from beft_core.sweeps.store import SweepFolder
from beft_core.tasks.registry import get_task
from beft_core.terms import TERM_KEYS

LEVELS = {"v": 0.8, "q": 0.7, "k": 0.6, "all": 0.82}


def without_data(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make this machine one that has the bundled model and the demo tasks, and nothing else."""
    for name in ("BEFT_GLUE_DIR", "BEFT_SUPERGLUE_DIR", "BEFT_QA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BEFT_HOME", str(folder / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "hub"))


def level(run: RunConfig) -> float:
    """The metric of a run: v before q before k, more with more data, and seeds a hundredth apart."""
    return LEVELS.get("+".join(run.terms) or run.mode, 0.65) + (run.n_train or 0) * 1e-5 + 0.01 * run.seed


def row_of(run: RunConfig, value: Callable[[RunConfig], float] = level) -> dict[str, Any]:
    """The row of a finished run; a probe selects v by every approach but Magnitude, which selects q."""
    metric = get_task(run.task).metrics[0]
    epochs = run.epochs or 1
    curve = [value(run) - 0.02 * (epochs - epoch) for epoch in range(1, epochs + 1)]
    row = {
        **plan_columns(run),
        "state": "done",
        "metric": metric,
        "value": value(run),
        "curve": json.dumps(curve),
        "seconds": 12.0 + run.seed,
        "bank_runs": 1,
        "trained_parameters": 2_304,
        "total_parameters": 22_713_216,
        "device": "a made-up device",
    }
    if run.method.every_bias:
        for approach in of_probes():
            first = "q" if approach.startswith("magnitude") else "v"
            scores = {term: 0.9 if term == first else 0.1 + 0.01 * n for n, term in enumerate(TERM_KEYS)}
            row |= {f"{approach}.{term}": score for term, score in scores.items()}
            row |= {f"rank.{approach}.{term}": rank for term, rank in rank_terms(scores).items()}
            row[f"selected.{approach}"] = select_term({term: scores[term] for term in ("q", "k", "v")})
    return row


def finish(step: Step, value: Callable[[RunConfig], float] = level) -> None:
    """Write the rows of a step as if its sweep had ended."""
    assert isinstance(step.spec, SweepSpec)
    folder = SweepFolder(step.folder)
    folder.begin(step.spec)
    for run in step.runs:
        folder.save(row_of(run, value), None)
    folder.write_table(step.runs)


def replace(step: Step, row: dict[str, Any]) -> None:
    """Write a row in the place of one that is there, which a sweep never does."""
    (SweepFolder(step.folder).rows / f"{row['run']}.json").write_text(json.dumps(row))


def finish_all(plan: Plan, value: Callable[[RunConfig], float] = level) -> None:
    """Write the rows of every step that can run, and the result of every comparison of methods."""
    for step in plan.steps:
        if step.comparison is not None:
            finish_comparison(step, value)
        elif step.spec is not None:
            finish(step, value)


def finish_comparison(step: Step, value: Callable[[RunConfig], float] = level) -> None:
    """Write a comparison as if it had been made, each method at the first of its rates."""
    spec = step.comparison
    assert spec is not None
    folder = ComparisonFolder(step.folder)
    folder.prepare()
    folder.begin({"comparison": spec.to_dict()})
    entries = [entry for entry in spec.entries() if entry.lrs]
    finals = spec.finals(entries, {entry.trains: entry.lrs[0] for entry in entries}, spec.usual_rate())
    runs = finals.runs()
    folder.finals.begin(finals)
    for run in runs:
        folder.finals.save(row_of(run, value), None)
    folder.finals.write_table(runs)
    rows = [
        made_row(entry.trains, 0.5 if entry.trains == "lora" else 0.8, task=spec.task_name, setting=setting)
        for entry in entries
        for setting in ("same", "best")
    ]
    write_comparison(comparison(*rows), step.folder, {"comparison": spec.to_dict()})
