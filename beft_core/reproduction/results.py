"""Results of a reproduction: the tables of its sweeps as one, each experiment's own rows, and the merges."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from beft_core.errors import UserError
from beft_core.reports.merges import Merge, read_merges
from beft_core.reproduction.plan import Plan, Step
from beft_core.sweeps.store import SweepFolder
from beft_core.sweeps.table import COLUMNS


def rows_of(steps: Iterable[Step]) -> pd.DataFrame:
    """Make one table, all of ``sweeps.table.COLUMNS``, of the finished fine-tunes of some steps, each once.

    Sizes of a rehearsal, and all examples of a task of few, carry the names of the regimes that they stand for. Where a
    fine-tune was trained in a pass with others and alone, the row of the pass stays, unless it failed.
    """
    tables = []
    for step in sorted(steps, key=lambda one: one.grid.alone):
        if not step.runs:
            continue
        table = SweepFolder(step.folder).table(step.runs)
        if step.regimes:
            sizes = pd.to_numeric(table["n_train"])
            table = table.assign(regime=[step.regimes.get(int(n)) if n == n else None for n in sizes])
        elif step.grid.shown_as is not None:
            table = table.assign(regime=step.grid.shown_as)
        tables.append(table)
    filled = [table for table in tables if len(table)]
    if not filled:
        return pd.DataFrame(columns=list(COLUMNS))
    # Empty columns would decide the type of the whole.
    whole = pd.concat([table.dropna(axis="columns", how="all") for table in filled], ignore_index=True)
    whole = whole.reindex(columns=list(COLUMNS))
    ordered = whole.assign(bad=whole["state"] != "done").sort_values("bad", kind="stable")
    return ordered.drop_duplicates("run").drop(columns="bad").sort_index().reset_index(drop=True)


def merges_of(steps: Iterable[Step]) -> tuple[Merge, ...] | None:
    """Read the merges of some steps; None where none has any yet. A damaged file counts as none."""
    found: list[Merge] = []
    for step in steps:
        try:
            found += read_merges(step.folder) or ()
        except UserError:
            continue
    return tuple(found) or None


def of_experiment(plan: Plan, name: str) -> list[Step]:
    """List the steps of one experiment."""
    return [step for step in plan.steps if step.experiment == name]
