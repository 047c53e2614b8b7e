"""Tools that tests of reports share: cells by their labels, metrics without a pattern, entries of merges."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from sweep_tables import Run, make_results

from beft_core.reports.cells import Cell
from beft_core.reports.tables import Table

LRS = (1e-4, 1e-3, 1e-2)
SHORT = ("v", "q", "k", "all")
"""What is trained in a small sweep."""


def cell(table: Table, *labels: str, column: str) -> Cell:
    """The one cell under these labels."""
    (row,) = (row for row in table.rows if row.labels == labels)
    return row.cells[[c.key for c in table.columns].index(column)]


def scattered(run: Run) -> float:
    """A number for each run without a pattern that the code could share: up to 0.03 either way."""
    return (int.from_bytes(repr(run).encode(), "big") % 6007) / 6007 * 0.06 - 0.03


def selects(votes: dict[int, str], lr: float | None = None) -> Any:
    """Probes of the seeds at a learning rate (or at all) select so, all others k."""
    return lambda approach, run: votes[run[4]] if lr in (None, run[3]) else "k"


def entry(seed: int = 0, tasks: tuple[str, ...] = ("sst2", "rte"), **other: Any) -> dict[str, Any]:
    """One merge, as beft sweep writes it."""
    rows = {"base model": dict.fromkeys(tasks, 0.5)}
    rows |= {source: {task: 0.8 if task == source else 0.4 for task in tasks} for source in tasks}
    rows["merged"] = dict.fromkeys(tasks, 0.7 + 0.02 * seed)
    return {
        "tasks": list(tasks),
        "seed": seed,
        "term": "v",
        "method": "mean",
        "cosine": 0.2,
        "angle": 78.0,
        "rows": rows,
        "metrics": dict.fromkeys(tasks, "accuracy"),
        **other,
    }


def one_case(values: dict[str, float], **more: Any) -> pd.DataFrame:
    """One probe beside three fine-tunes with the given metrics, by default at one learning rate and seed."""
    more = {"tasks": ["sst2"], "regimes": ["low"], "lrs": [1e-2], "seeds": [0], "trains": SHORT} | more
    table = make_results(**more)
    for term, value in values.items():
        table.loc[table["trains"] == term, "value"] = value
    return table


def of_rule(table: pd.DataFrame, rule: str) -> pd.DataFrame:
    """The cases of one rule."""
    return table[table["rule"] == rule]


def noisy(run: Run) -> float:
    """A number for each run, up to 0.07 either way."""
    return 0.07 * math.sin(sum(map(ord, f"{run}")))
