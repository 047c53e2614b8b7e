"""Evidence from a result table on the paper's claims: cases of selection, and differences of what was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from beft_core.reports.claims.verdicts import Estimate
from beft_core.reports.merges import Merge
from beft_core.reports.optimizers import with_optimizer
from beft_core.reports.pairing import pairs
from beft_core.reports.seed_means import LrChoice
from beft_core.reports.selection import prediction
from beft_core.reports.selection.intervals import Bootstrap
from beft_core.scores.approaches import PAPER
from beft_core.sweeps.table import KEY, OPTIMIZER_COLUMNS
from beft_core.tasks.registry import TASKS

LOW = max(size for task in TASKS.values() if task.source != "demo" and (size := task.regimes.get("low")))
"""Largest number of training examples that the paper calls low (CoLA's 1,710): sizes without a name of a regime are low
up to it.
"""
_READ = {*KEY, *OPTIMIZER_COLUMNS, "regime", "trains", "state", "value", "seconds", "curve", "null_terms", "bank_runs"}
"""Columns that the checks read of a fine-tune: a copy of the others takes most of the memory of a large table."""
_RUN = [*KEY, "optimizer", "trains"]
"""Columns that name a fine-tune."""
_NAMES = ["model", "task", "regime", "optimizer", "trains", "null_terms"]
"""Columns of a few names each, which :attr:`Evidence.measured` holds as categories: texts group ten times as slowly."""
_SIZE = ["model", "task", "regime", "n_train", "optimizer"]
"""Columns that name a size of data, within which learning rates and seeds vary."""


@dataclass(frozen=True)
class Evidence:
    """Result table of a sweep, with the pre-trained norms that it can have, and the merges of its fine-tunes."""

    results: pd.DataFrame
    merges: Sequence[Merge] | None = None

    @cached_property
    def measured(self) -> pd.DataFrame:
        """Fine-tunes that finished with a metric; with the columns ``optimizer`` and ``is_low``."""
        done = (self.results["state"] == "done") & self.results["value"].notna()
        rows = self.results.loc[:, self.results.columns.isin(_READ)][done]
        unnamed = rows["regime"].isna() & (rows["n_train"] <= LOW)
        is_low = ((rows["regime"] == "low") | unnamed).rename("is_low")
        # Joined as a whole: inserting into a table of a CSV file is slow.
        rows = with_optimizer(pd.concat([rows.astype({"value": float}), is_low], axis=1))
        return rows.astype(dict.fromkeys(_NAMES, "category"))

    @cached_property
    def done(self) -> pd.DataFrame:
        """Fine-tunes of :attr:`measured`, each once: of those that repeat another the last."""
        return self.measured.drop_duplicates(_RUN, keep="last")

    @cached_property
    def cases(self) -> pd.DataFrame:
        """Cases of selection, as :func:`prediction.cases` lists them at the same learning rate."""
        return prediction.cases_of(self.paired)

    @cached_property
    def regret(self) -> pd.DataFrame:
        """Points that each rule loses in each case: a row per case, a column per rule; NaN where it cannot tell."""
        return self._by_rule("regret")

    @cached_property
    def named(self) -> pd.DataFrame:
        """Term that each rule names in each case, laid out as :attr:`regret`."""
        return self._by_rule("selected")

    @cached_property
    def advantage(self) -> dict[str, Estimate]:
        """Points that each rule loses more than the projection ratio, over the cases where both can tell."""
        gains = [(self.regret[rule] - self.regret[PAPER]).to_numpy(float) for rule in prediction.RULES]
        counts = [int((~np.isnan(gain)).sum()) for gain in gains]
        if not any(counts):
            return dict.fromkeys(prediction.RULES, Estimate(np.nan, np.nan, np.nan, 0))
        draws = Bootstrap(self.cases.drop_duplicates("case").set_index("case").reindex(self.regret.index))
        found = zip(prediction.RULES, draws.means(gains), counts, strict=True)
        return {rule: Estimate(*interval, count) for rule, interval, count in found}

    def _by_rule(self, column: str) -> pd.DataFrame:
        wide = self.cases.pivot(index="case", columns="rule", values=column)
        return wide.reindex(columns=list(prediction.RULES))

    @cached_property
    def paired(self) -> pd.DataFrame:
        """Probes beside the three terms alone (``pairing.Pairs.rows``), at the same learning rate."""
        return pairs(self.results).rows

    @property
    def models(self) -> list[str]:
        """Models of the table, in its order."""
        return [str(name) for name in self.results["model"].unique()]


def estimate(rows: pd.DataFrame, values: np.ndarray) -> Estimate:
    """Average what is not NaN of [rows], with the interval of :class:`Bootstrap`; NaN throughout without any."""
    known = int((~np.isnan(values)).sum())
    if not known:
        return Estimate(np.nan, np.nan, np.nan, 0)
    return Estimate(*Bootstrap(rows).mean(values), known)


def difference(rows: pd.DataFrame, one: str, other: str, lr: LrChoice = "same", column: str = "value") -> Estimate:
    """Average ``one`` minus ``other`` over everything that has both in the same seed, metrics in percentage points.

    ``rows``: some of :attr:`Evidence.measured`. ``lr``: "same": fine-tunes at the same learning rate; "best": each
    at the one at which its mean over the seeds is best. ``column``: what is compared; seconds stay seconds.
    """
    own = rows[rows["trains"].isin([one, other])]
    if own.empty:
        return Estimate(np.nan, np.nan, np.nan, 0)
    if lr == "best":
        means = _means(own, [*_SIZE, "trains", "lr"], "value")
        means = means.sort_values(["value", "lr"], ascending=[True, False])
        best = means.drop_duplicates([*_SIZE, "trains"], keep="last").drop(columns="value")
        own = own.merge(best, on=[*_SIZE, "trains", "lr"])
    index = [*_SIZE, "seed"] if lr == "best" else [*_SIZE, "seed", "lr"]
    means = _means(own, [*index, "trains"], column)
    ours, theirs = (means[means["trains"] == name].drop(columns="trains") for name in (one, other))
    both = ours.merge(theirs, on=index, suffixes=("", ".other"))
    factor = 100.0 if column == "value" else 1.0
    values = factor * (both[column].to_numpy(float) - both[f"{column}.other"].to_numpy(float))
    known = ~np.isnan(values)
    return estimate(both[known], values[known])


def _means(rows: pd.DataFrame, by: list[str], column: str) -> pd.DataFrame:
    """Average a column over rows that agree in others, gaps among them."""
    return rows.groupby(by, dropna=False, sort=False, observed=True, as_index=False)[column].mean()


def gaps_follow(paired: pd.DataFrame, approach: str) -> Estimate:
    """Estimate how often the gap between b_v and b_q in a score moves, from one size of data to the next, the way the
    gap of their metrics alone does: in percent, of the seeds and learning rates where both move.
    """
    group = [name for name in (*KEY, "optimizer") if name != "n_train"]
    scores = [paired[f"{approach}.{term}"].astype(float) for term in ("v", "q")]
    rows = paired[[*group, "n_train"]].assign(score=scores[0] - scores[1], metric=paired["value.v"] - paired["value.q"])
    rows = rows.sort_values("n_train", kind="stable")
    moved = rows.groupby(group, dropna=False, sort=False)[["score", "metric"]].diff().astype(float)
    ways = np.sign(moved["score"].to_numpy()) * np.sign(moved["metric"].to_numpy())
    keep = ~np.isnan(ways) & (ways != 0)
    return estimate(rows[keep], np.where(ways[keep] > 0, 100.0, 0.0))


def score_and_metric(paired: pd.DataFrame, approach: str, term: str = "v") -> Estimate:
    """Average, over tasks and sizes of data, Spearman's correlation of a term's score and its metric alone."""
    rows: list[dict[str, Any]] = []
    of_size = ["model", "task", "n_train"]
    read = paired[[*of_size, f"{approach}.{term}", f"value.{term}"]]
    for (model, task, n_train), group in read.groupby(of_size, sort=False, dropna=False):
        value = prediction.score_with_metric(group, approach, (term,))[term]
        rows.append({"model": model, "task": task, "n_train": n_train, "seed": 0, "value": value})
    table = pd.DataFrame(rows, columns=["model", "task", "n_train", "seed", "value"])
    table = table[table["value"].notna()]
    return estimate(table, table["value"].to_numpy(float))
