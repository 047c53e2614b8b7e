"""Contests of one term alone against another, cell by cell: the same seeds with both, a paired t-test over them.

A *cell* is a task, a number of examples and a learning rate. Twenty cells in which nothing differs show about one with
p below 0.05: the test is not corrected for their number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from beft_core.reports.optimizers import with_optimizer
from beft_core.reports.pairing import with_regimes
from beft_core.sweeps.table import KEY, OPTIMIZER_COLUMNS
from beft_core.terms import CANDIDATES

LEVEL = 0.05
"""Level of the two-sided test: with five seeds, |t| above 2.78."""
_CELL = [name for name in KEY if name != "seed"]
_READ = {*KEY, *OPTIMIZER_COLUMNS, "regime", "trains", "state", "value"}
"""Columns that tests read of a fine-tune."""
COLUMNS = (*_CELL, "regime", "one", "other", "seeds", "difference", "t", "p")


@dataclass(frozen=True)
class Contest:
    """Contest of two terms: how often one alone beats the other."""

    one: str
    other: str
    cells: int
    """Number of cells with at least two seeds of both terms."""
    wins: int
    """Number of cells in which ``one`` is better, with p below 0.05."""
    losses: int
    seeds: int
    """Largest number of seeds of a cell."""


def paired(results: pd.DataFrame, one: str = "v", other: str = "q") -> pd.DataFrame:
    """Make one row per cell in which at least two seeds have both terms alone: :data:`COLUMNS`.

    ``results``: see ``sweeps.table``. ``difference``: mean of one minus other, percentage points. ``t`` of the paired
    test over ``seeds`` (NaN where all seeds tie, infinite where all differ by the same), ``p``: two-sided.
    """
    named = with_regimes(results.loc[:, results.columns.isin(_READ)])
    both = named[named["trains"].isin([one, other]) & (named["state"] == "done")]
    both = with_optimizer(both).dropna(subset=["value"]).astype({"value": float})
    both = both.drop_duplicates([*KEY, "optimizer", "trains"], keep="last")
    cell = [*_CELL, "regime"]
    ours, theirs = (both.loc[both["trains"] == term, [*cell, "seed", "value"]] for term in (one, other))
    pairs = ours.merge(theirs, on=[*cell, "seed"], suffixes=("", ".other"))
    pairs["difference"] = 100 * (pairs["value"] - pairs["value.other"])
    found = pairs.groupby(cell, observed=True)["difference"].agg(["size", "mean", "std"])
    rows = [
        (*at, one, other, seeds, mean, t := _t(mean, spread, seeds), two_sided_p(t, seeds - 1))
        for at, seeds, mean, spread in found.itertuples()
        if seeds > 1
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def contest(results: pd.DataFrame, one: str = "v", other: str = "q") -> Contest:
    """Count the cells of `paired`."""
    rows = paired(results, one, other)
    clear = rows["p"] < LEVEL
    wins, losses = (int((clear & (sign * rows["difference"] > 0)).sum()) for sign in (1, -1))
    return Contest(one, other, len(rows), wins, losses, int(rows["seeds"].max()) if len(rows) else 0)


def _t(mean: float, spread: float, seeds: int) -> float:
    """Compute t of differences over seeds from their mean and standard deviation (n - 1)."""
    # Differences of equal metrics are rounding, about 1e-14 points.
    if spread < 1e-9:
        return math.nan if abs(mean) < 1e-9 else math.copysign(math.inf, mean)
    return mean / (spread / math.sqrt(seeds))


def two_sided_p(t: float, freedom: int) -> float:
    """Compute P(|T| >= |t|) of Student's t with a whole number of degrees of freedom; 1 where t is NaN.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4; scipy is too slow to import for it.
    """
    if math.isnan(t):
        return 1.0
    angle = math.atan2(abs(t), math.sqrt(freedom))
    square = math.cos(angle) ** 2
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for at in range(freedom // 2):
        total += term
        term *= square * (2 * at + 1 + odd) / (2 * at + 2 + odd)
    inside = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return max(0.0, 1 - inside)


def critical_t(freedom: int, level: float = LEVEL) -> float:
    """Compute the t that a two-sided test of Student's t just reaches at a level; infinite without a degree of freedom.

    Times s / sqrt(n), with n - 1 degrees of freedom, it is half the interval of a mean.
    """
    if freedom < 1:
        return math.inf
    low, high = 0.0, 1.0
    while two_sided_p(high, freedom) > level:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided_p(middle, freedom) > level else (low, middle)
    return high


def sentence(results: pd.DataFrame) -> str:
    """Say how b_v stands against b_q and b_k; empty without a cell that has both of a pair."""
    found = [contest(results, "v", other) for other in CANDIDATES if other != "v"]
    found = [one for one in found if one.cells]
    if not found:
        return ""
    parts = [
        f"{'b_v beats' if not at else 'it beats'} b_{one.other} in {one.wins} of {one.cells} and loses to it in "
        f"{one.losses or 'none'}"
        for at, one in enumerate(found)
    ]
    said = (
        f"Cell by cell (task, size and learning rate; paired t-test over at most {max(c.seeds for c in found)} seeds, "
        f"p < {LEVEL:g}), {', '.join(parts)}"
    )
    if any(one.losses for one in found):
        return f"{said}. In the latter a rule could do better than “always b_v”."
    return f"{said}: these tasks cannot tell a rule that selects well from “always b_v”."
