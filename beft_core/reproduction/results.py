"""Results of a reproduction: the tables of its sweeps as one, each experiment's own rows, and the merges."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from beft_core.comparison.folder import ComparisonFolder
from beft_core.errors import UserError
from beft_core.reports.merges import Merge, read_merges
from beft_core.reports.methods.table import Comparison, read_comparison
from beft_core.reproduction.plan import Plan, Step
from beft_core.sweeps.store import SweepFolder
from beft_core.sweeps.table import COLUMNS


def rows_of(steps: Iterable[Step]) -> pd.DataFrame:
    """Make one table, all of ``sweeps.table.COLUMNS``, of the finished fine-tunes of some steps, each once.

    Sizes of a rehearsal carry the names of the regimes that they stand for. Where a fine-tune was trained in a pass
    with others and alone, the row of the pass stays, unless it failed. Of comparisons it is what they report.
    """
    tables = []
    for step in sorted(steps, key=lambda one: one.is_alone):
        table = _table(step)
        if table is None:
            continue
        if step.regimes:
            sizes = pd.to_numeric(table["n_train"])
            table = table.assign(regime=[step.regimes.get(int(n)) if n == n else None for n in sizes])
        tables.append(table)
    filled = [table for table in tables if len(table)]
    if not filled:
        return pd.DataFrame(columns=list(COLUMNS))
    # Empty columns would decide the type of the whole.
    whole = pd.concat([table.dropna(axis="columns", how="all") for table in filled], ignore_index=True)
    whole = whole.reindex(columns=list(COLUMNS))
    ordered = whole.assign(bad=whole["state"] != "done").sort_values("bad", kind="stable")
    return ordered.drop_duplicates("run").drop(columns="bad").sort_index().reset_index(drop=True)


def _table(step: Step) -> pd.DataFrame | None:
    if step.comparison is None:
        return SweepFolder(step.folder).table(step.runs) if step.runs else None
    finals = ComparisonFolder(step.folder).finals
    try:
        return finals.table(finals.spec().runs())
    except UserError:  # it has not come so far
        return None


def comparisons_of(steps: Iterable[Step]) -> list[tuple[Step, Comparison]]:
    """Read the comparisons of methods of some steps that are finished."""
    found = []
    for step in steps:
        if step.comparison is not None:
            try:
                found.append((step, read_comparison(step.folder)))
            except UserError:
                continue
    return found


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
