"""Pairing of probes with the fine-tunes of single terms that they should predict.

A probe trains all biases; the fine-tunes train b_q, b_k or b_v alone on the same model, task, examples and seed, with
the same epsilon of AdamW. Which learning rates belong together (``at``):

- ``"same"``: per model, task and number of examples, the learning rates of all probes and those of all fine-tunes of
  one term, failed ones included, are two sorted grids. Equal grids: the same learning rate. Grids that differ but are
  equally long: by position. A grid of a single learning rate goes with every one of the other. Otherwise: those that
  both have.
- ``"best"``: each term at the learning rate that served it best in that seed, beside the probe at each of its own. That
  choice is made on the validation set, so these metrics are a little too good, for all three terms.

A null b_k is no special case: alone, only the head and the pooler's bias learn, and by that metric it is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from beft_core.reports.optimizers import told_apart, with_optimizer
from beft_core.scores.approaches import of_probes
from beft_core.sweeps.table import KEY, OPTIMIZER_COLUMNS
from beft_core.terms import CANDIDATES

At = Literal["same", "best"]

VALUES: tuple[str, ...] = tuple(f"value.{term}" for term in CANDIDATES)
"""Columns of :class:`Pairs` with the metrics of the three terms, fractions."""

_OF_PROBES = [f"{name}.{term}" for name in (*of_probes(), "pre_norm") for term in CANDIDATES]
"""Columns of scores and of norms that a probe has."""
_KEY = [*KEY, "optimizer"]
_GRID = [name for name in _KEY if name not in ("lr", "seed")]
_GROUP = [name for name in _KEY if name != "lr"]
_LRS = [f"lr.{term}" for term in CANDIDATES]


@dataclass(frozen=True)
class Pairs:
    """Probes with the fine-tunes that they should predict."""

    rows: pd.DataFrame
    """Table with one row per case: model, task, regime, n_train, seed, optimizer, lr (of the probe), term_lr (of the
    single terms; NaN where each has its own), ``value.q`` and ``lr.q`` (also k, v), and of the probe its scores,
    ``projection_ratio.q`` and so on, ``pre_norm.q`` (also k, v) and null_terms.
    """
    left_out: dict[str, int]
    """Number of fine-tunes or probes that are in no case, by the reason; without reasons that left nothing out."""


def pairs(results: pd.DataFrame, at: At = "same") -> Pairs:
    """Put probes and fine-tunes of q, k and v together; the module says which. ``results``: see ``sweeps.table``.

    Of fine-tunes that repeat another (equal KEY, optimizer and ``trains``) the last row counts. A regime without a
    name is called by its number of examples.
    """
    read = [*KEY, *OPTIMIZER_COLUMNS, "regime", "trains", "state", "value", "null_terms", *_OF_PROBES]
    table = with_regimes(results.loc[:, results.columns.isin(read)])
    table = with_optimizer(table[table["trains"].isin(["all", *CANDIDATES])])
    once = table.drop_duplicates([*_KEY, "trains"], keep="last")
    is_probe, done = once["trains"] == "all", once["state"] == "done"
    measured = done & once["value"].notna()
    probes, terms = once[is_probe & done], once[~is_probe & measured]
    left_out = {
        "repeated fine-tunes": len(table) - len(once),
        "probes that failed": int((is_probe & ~done).sum()),
        "fine-tunes of one term that failed": int((~is_probe & ~measured).sum()),
    }
    probes = probes[[*_KEY, "regime", *_OF_PROBES, "null_terms"]]
    if at == "same":
        probes = probes.merge(_counterparts(once), on=[*_GRID, "lr"], how="left")
        apart = probes["term_lr"].isna()
        left_out["probes at a learning rate that no fine-tune of one term has"] = int(apart.sum())
        rows = probes[~apart].merge(_side_by_side(terms, ["lr"]), on=[*_GROUP, "term_lr"], how="left")
    else:
        best_last = terms.sort_values(["value", "lr"], ascending=[True, False])
        best = best_last.drop_duplicates([*_GROUP, "trains"], keep="last")
        rows = probes.merge(_side_by_side(best, []), on=_GROUP, how="left").assign(term_lr=np.nan)
    whole = rows[list(VALUES)].notna().all(axis=1)
    left_out["probes without a metric of each of q, k and v"] = int((~whole).sum())
    return Pairs(rows[whole].reset_index(drop=True), {why: count for why, count in left_out.items() if count})


def _side_by_side(terms: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Put metrics and learning rates of the three terms in one row per group (and learning rate, where ``by``
    has it).
    """
    index = [*_GROUP, *by]
    own = terms[[*_GROUP, "lr", "trains", "value"]]
    wide = own.assign(of=own["lr"]).pivot(index=index, columns="trains", values=["value", "of"])
    wide = wide.reindex(columns=pd.MultiIndex.from_product([["value", "of"], CANDIDATES]))
    wide.columns = pd.Index([*VALUES, *_LRS])
    return wide.astype(float).reset_index().rename(columns={"lr": "term_lr"})


def _counterparts(table: pd.DataFrame) -> pd.DataFrame:
    """Find the learning rates that belong together, as in the module's "same": columns of ``_GRID``, lr, term_lr."""
    rows: list[tuple[object, ...]] = []
    few = table[[*_GRID, "lr"]].assign(is_probe=table["trains"] == "all").drop_duplicates()
    for grid, group in few.groupby(_GRID, sort=False):
        of_probe, of_terms = (sorted(group.loc[group["is_probe"] == kind, "lr"]) for kind in (True, False))
        rows += [(*grid, *pair) for pair in match_grids(of_probe, of_terms)]
    return pd.DataFrame(rows, columns=[*_GRID, "lr", "term_lr"]).astype({"lr": float, "term_lr": float})


def with_regimes(results: pd.DataFrame, unknown: str = "") -> pd.DataFrame:
    """Name every regime of a result table, "300 examples" where it has no name, those of unusual optimizers apart.

    ``unknown``: name of a regime without a number of examples.
    """
    if results["regime"].notna().all():
        return told_apart(results)
    words = {n: f"{n:,.0f} examples" for n in results["n_train"].dropna().unique()}  # a few, of any number of rows
    sizes = results["n_train"].map(words).astype(object).where(results["n_train"].notna(), unknown)
    return told_apart(results.assign(regime=results["regime"].astype(object).where(results["regime"].notna(), sizes)))


def match_grids(probe: Sequence[float], terms: Sequence[float]) -> list[tuple[float, float]]:
    """Pair the learning rates (of the probe, of the single terms) of two sorted grids."""
    if set(probe) != set(terms):
        if len(probe) == len(terms):
            return list(zip(probe, terms, strict=True))
        if 1 in (len(probe), len(terms)):
            return [(one, other) for one in probe for other in terms]
    return [(lr, lr) for lr in probe if lr in set(terms)]
