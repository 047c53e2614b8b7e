"""Means of a sweep's result table over seeds, with the spread of each fine-tune."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beft_core.scores.approaches import PAPER
from beft_core.sweeps.table import OPTIMIZER_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

CELL: tuple[str, ...] = ("model", "task", "n_train", "trains", "lr", *OPTIMIZER_COLUMNS)
"""Columns in which fine-tunes that differ in nothing but the seed agree."""


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Make one row per cell, in the order of the table: metric, ``mean`` and ``std`` (n - 1) over the ``seeds`` that
    are done, how many ``failed``, and the terms that its probes ``selects`` by the projection ratio, joined by ``/``.
    """
    import pandas as pd

    by = list(CELL)
    done = table["state"] == "done"
    narrow = table[by].assign(
        metric=table["metric"].where(done),
        value=pd.to_numeric(table["value"]).where(done),
        is_done=done,
        selects=table[f"selected.{PAPER}"].where(done),
    )
    groups = narrow.groupby(by, sort=False, dropna=False)
    found = groups.agg(
        metric=("metric", "first"), mean=("value", "mean"), std=("value", "std"), seeds=("is_done", "sum")
    ).assign(failed=groups.size() - groups["is_done"].sum())
    # Few rows are probes; of each cell what they select, in the order of the table.
    votes = narrow.loc[narrow["selects"].notna(), [*by, "selects"]].drop_duplicates()
    joined = votes.groupby(by, sort=False, dropna=False)["selects"].agg("/".join)
    found = found.assign(selects=joined.reindex(found.index)).reset_index()
    # None, as the rows of a cell without one always said: NaN would be written as a word.
    words = {name: found[name].astype(object).where(found[name].notna(), None) for name in ("metric", "selects")}
    return found.assign(**words)
