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

    rows = []
    for key, part in table.groupby(list(CELL), sort=False, dropna=False):
        done = part[part["state"] == "done"]
        values = pd.to_numeric(done["value"]).dropna()
        rows.append(
            dict(zip(CELL, key, strict=True))
            | {
                "metric": next(iter(done["metric"].dropna()), None),
                "mean": values.mean() if len(values) else None,
                "std": values.std() if len(values) > 1 else None,
                "seeds": len(done),
                "failed": len(part) - len(done),
                "selects": "/".join(dict.fromkeys(done[f"selected.{PAPER}"].dropna())) or None,
            }
        )
    return pd.DataFrame(rows)
