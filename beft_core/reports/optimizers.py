"""Names that tell optimizers apart: where fine-tunes of a model had several, their regimes are named apart, and no mean
mixes two.

Every table, figure and case groups by regime, so this is the one place that has to look at the optimizer.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from beft_core.sweeps.table import OPTIMIZER_COLUMNS

UNKNOWN = "unknown"


def optimizers(results: pd.DataFrame) -> pd.Series:
    """Name AdamW's epsilon and its place for each row of a result table: ``1e-06 before``, or ``unknown``."""
    columns = results.reindex(columns=list(OPTIMIZER_COLUMNS))
    epsilon, epsilons = pd.factorize(pd.to_numeric(columns["adam_epsilon"]))
    place, places = pd.factorize(columns["adam_epsilon_at"])
    known = (epsilon >= 0) & (place >= 0)
    # A few words, of any number of rows.
    words = np.array([*(f"{one:g} {other}" for one in epsilons for other in places), UNKNOWN], object)
    return pd.Series(words[np.where(known, epsilon * len(places) + place, -1)], results.index, object)


def with_optimizer(results: pd.DataFrame) -> pd.DataFrame:
    """Return a result table with one more column, ``optimizer`` (:func:`optimizers`).

    Joined as a whole: a table of a CSV file is one block per column, and inserting into such a table is slow.
    """
    return pd.concat([results, optimizers(results).rename("optimizer")], axis=1)


def usual(results: pd.DataFrame) -> str:
    """Find the optimizer of most rows; of equally many, the one that comes first."""
    counts = optimizers(results).value_counts(sort=False)
    return str(counts.idxmax())


def told_apart(results: pd.DataFrame) -> pd.DataFrame:
    """Rename the regimes of a model's unusual optimizers: ``low`` becomes ``low, epsilon 1e-06 before``.

    ``results``: with a name for every regime. Every model has its own :func:`usual` optimizer, whose regimes keep their
    names.
    """
    said = optimizers(results)
    if said.nunique() <= 1:
        return results
    main = results["model"].map({name: usual(rows) for name, rows in results.groupby("model", dropna=False)})
    apart = (said != main) & main.notna()
    regimes = [f"{name}, epsilon {of}" for name, of in zip(results["regime"], said, strict=True)]
    return results.assign(regime=results["regime"].astype(object).where(~apart, regimes))
