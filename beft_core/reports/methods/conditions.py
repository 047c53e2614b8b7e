"""Conditions under which the rows of comparisons were measured: the preset, the metric and the validation examples.

Comparisons that were put together may differ in them. Two rows that do are no repeats of each other, and two methods
that do are not compared fairly, though they stand in one table: whoever reads it is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

COLUMNS: tuple[str, ...] = ("preset", "metric", "n_eval")
"""Columns of the table of methods that say the conditions."""


def conditions(row: Mapping[str, Any]) -> str:
    """Say the conditions of a row, such as "quick preset, accuracy on 872 validation examples"."""
    preset, metric, n_eval = (None if pd.isna(row[name]) else row[name] for name in COLUMNS)
    examples = "an unknown number of" if n_eval is None else f"{n_eval:,.0f}"
    return f"{preset or 'unknown'} preset, {metric or 'no metric'} on {examples} validation examples"


def mixed(rows: pd.DataFrame) -> list[str]:
    """Say for each task and number of training examples whose numbers are of several conditions which are of which.

    ``rows``: of the table of methods, of one model and setting; those without a number do not count.
    """
    said = []
    done = rows[(rows["state"] == "done") & rows["value"].notna()]
    for (task, size), group in done.groupby(["task", "n_train"], sort=False, dropna=False):
        named: dict[str, list[str]] = {}
        for row in group.to_dict("records"):
            named.setdefault(conditions(row), []).append(row["label"] or row["trains"])
        if len(named) > 1:
            examples = "" if pd.isna(size) else f", {size:,.0f} training examples"
            parts = "; ".join(f"{', '.join(methods)}: {of}" for of, methods in named.items())
            said.append(f"{task}{examples}: numbers of different conditions, which compare no methods fairly ({parts})")
    return said
