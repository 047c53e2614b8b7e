"""Means over seeds of a sweep's result table, and at which learning rate a table takes them.

Metrics leave here in percent. Fine-tunes that failed enter no mean; they are counted.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from beft_core.errors import UserError
from beft_core.reports.optimizers import optimizers, usual
from beft_core.reports.pairing import with_regimes
from beft_core.scores.approaches import PAPER
from beft_core.sweeps.table import OPTIMIZER_COLUMNS
from beft_core.tasks.registry import REGIMES
from beft_core.terms import CANDIDATES

LrChoice = Literal["best", "same"] | float
"""Choice of a learning rate: a key of :data:`LR_CHOICES`, or a number."""
LR_CHOICES: dict[str, str] = {
    "best": "every number at the learning rate where its own mean over seeds is best; that is chosen on the validation "
    "set that the metric is of, so the numbers are a little too good, for all alike",
    "same": "all at the learning rate where b_v has its best mean over seeds; that is chosen on the validation set and "
    "for b_v, so the others are a little worse off",
}
"""Ways to choose a learning rate, per model, task and regime, each with its description."""

SETTINGS: dict[str, str] = {
    "n_train": "the number of training examples",
    "epochs": "epochs",
    "schedule": "schedule",
    "batch_size": "batch size",
    "precision": "precision",
}
"""Columns that should not differ between fine-tunes that are compared -> words. A table that was put together may call
two amounts of data by the name of one regime.
"""
_NUMBERS = (
    "n_train",
    "lr",
    "seed",
    "value",
    "seconds",
    "trained_parameters",
    "total_parameters",
    "bank_runs",
    "adam_epsilon",
)
_CELL = ["model", "task", "regime", "trains"]
_REMARKED = {*_CELL, "run", "lr", "seed", "value", "is_failed", "failure", "null_terms", *SETTINGS, *OPTIMIZER_COLUMNS}
"""Columns that remarks are about."""

Key = tuple[str, str, str, str]
"""Key of a fine-tune: (model, task, regime, what is trained)."""


@dataclass(frozen=True)
class Mean:
    """Mean over the seeds of one fine-tune at one learning rate."""

    lr: float
    value: float
    """Mean of the metric after the last epoch, in percent."""
    spread: float | None
    """Standard deviation over seeds (n - 1), in percent; None for one seed."""
    seeds: int
    seconds: float
    """Seconds of one fine-tune; its share where several were trained in one pass. NaN where the table does not say."""
    seconds_spread: float | None
    parameters: float
    """Number of trained parameters, without the head."""
    share: float
    """Share of all parameters that is trained, in percent."""
    together: float
    """Largest number of fine-tunes that were trained in the same pass."""


@dataclass(frozen=True)
class Votes:
    """Votes of the probes (all biases trained) of one model, task and regime: what they select by projection ratio."""

    counts: dict[str, int]
    """Number of probes that select each term; "none" for those that moved nothing."""
    lr: float | None
    """Learning rate of the probes; None where those of all learning rates vote."""

    @property
    def probes(self) -> int:
        return sum(self.counts.values())

    @property
    def winner(self) -> str | None:
        """Find the term that most probes select; None without probes and where two lead."""
        first, second = (*sorted(self.counts.values(), reverse=True), 0, 0)[:2]
        leads = [term for term, count in self.counts.items() if count == first]
        return leads[0] if first > second and leads[0] in CANDIDATES else None


class Runs:
    """Result table, checked, with its means over seeds.

    Raises:
        UserError: no rows, or a column of numbers that holds something else.
    """

    def __init__(self, results: pd.DataFrame) -> None:
        self.rows = checked(results)
        self._means: dict[Key, list[Mean]] = {}
        for row in _over_seeds(self.rows).itertuples(index=False):
            key = (row.model, row.task, row.regime, row.trains)
            self._means.setdefault(key, []).append(
                Mean(
                    float(row.lr),
                    100 * float(row.value),
                    _times(100, row.spread),
                    int(row.seeds),
                    float(row.seconds),
                    _times(1, row.seconds_spread),
                    float(row.parameters),
                    100 * float(row.parameters) / float(row.total) if row.total else math.nan,
                    float(row.together),
                )
            )
        narrow = self.rows[[*_CELL, "is_failed", "failure", "metric"]]
        counts = narrow.groupby(_CELL, sort=False).agg(
            fine_tunes=("is_failed", "size"), failed=("is_failed", "sum"), failure=("failure", "first")
        )
        self._counts = {
            key: tuple(row) for key, *row in zip(counts.index, *(counts[name] for name in counts), strict=True)
        }
        self._metrics = dict(narrow.groupby("task", sort=False)["metric"].first())
        at = np.flatnonzero((narrow["trains"] == "all") & ~narrow["is_failed"])
        cells = narrow[_CELL[:3]].iloc[at].groupby(_CELL[:3], sort=False).indices
        self._probes: dict[Any, np.ndarray] = {cell: at[places] for cell, places in cells.items()}

    @classmethod
    def of(cls, results: pd.DataFrame | Runs) -> Runs:
        """Make runs of a result table, or return what was made of one before."""
        return results if isinstance(results, Runs) else cls(results)

    @cached_property
    def models(self) -> list[str]:
        """List the models, those with most finished fine-tunes first."""
        done = (~self.rows["is_failed"]).groupby(self.rows["model"], sort=False).sum()
        return [str(name) for name in done.sort_values(ascending=False, kind="stable").index]

    def tasks(self, model: str) -> list[str]:
        """List the tasks of a model, in the order of the table."""
        return [str(name) for name in self.rows.loc[self.rows["model"] == model, "task"].unique()]

    def regimes(self, model: str, task: str | None = None) -> list[str]:
        """List the regimes: low to all, then those that are called by their number of examples."""
        here = self.rows[["task", "regime", "n_train"]][self.rows["model"] == model]
        here = here if task is None else here[here["task"] == task]
        sizes = here.groupby("regime", sort=False)["n_train"].min().to_dict()
        return [str(name) for name in sorted(sizes, key=lambda name: regime_order(str(name), sizes[name]))]

    def has(self, *key: str) -> bool:
        """Whether any fine-tune, finished or not, has a key that begins so: ``has("bundled", "rte")``."""
        return any(found[: len(key)] == key for found in self._counts)

    def has_task(self, task: str) -> bool:
        """Whether any model was fine-tuned on a task."""
        return task in self._metrics

    def metric(self, task: str) -> str:
        """Name the metric of a task that counts; empty where the table has no such task."""
        return str(self._metrics.get(task) or "")

    def counted(self, key: Key) -> tuple[int, int, str]:
        """Count the fine-tunes at any learning rate and those that failed, and say why the first did."""
        fine_tunes, failed, failure = self._counts.get(key, (0, 0, ""))
        return int(fine_tunes), int(failed), failure if isinstance(failure, str) else ""

    def at(self, key: Key, choice: LrChoice) -> Mean | None:
        """Get the mean of a fine-tune at the learning rate of choice; None where there is none."""
        means = self._means.get(key, [])
        if choice == "best":
            return max(means, key=lambda mean: (mean.value, -mean.lr), default=None)
        lr = self.named_lr(key, choice)
        return next((mean for mean in means if lr is not None and math.isclose(mean.lr, lr)), None)

    def most_seeds(self, key: Key) -> int:
        """Count the seeds of a fine-tune that finished at the learning rate where most did."""
        return max((mean.seeds for mean in self._means.get(key, [])), default=0)

    def named_lr(self, key: Key, choice: LrChoice) -> float | None:
        """Get the one learning rate that a choice names for all that is trained; None where it names none."""
        if choice == "best":
            return None
        if choice == "same":
            best = self.at((*key[:3], "v"), "best")
            return best.lr if best else None
        return float(choice)

    def probes(self, model: str, task: str, regime: str, choice: LrChoice) -> tuple[pd.DataFrame, float | None]:
        """Find the finished probes at the learning rate of choice, and that rate.

        Where the choice names one that no probe has, those of all learning rates, and None.
        """
        places, lr = self._probes_at(model, task, regime, choice)
        return self.rows.iloc[places], lr

    def _probes_at(self, model: str, task: str, regime: str, choice: LrChoice) -> tuple[np.ndarray, float | None]:
        """Find the :meth:`probes` by their places in the table: a row of it has more than a hundred columns."""
        here = self._probes.get((model, task, regime), np.empty(0, np.intp))
        mean = self.at((model, task, regime, "all"), choice)
        return (here, None) if mean is None else (here[self.rows["lr"].to_numpy()[here] == mean.lr], mean.lr)

    def votes(self, model: str, task: str, regime: str, choice: LrChoice) -> Votes:
        """Count what the probes select by projection ratio."""
        places, lr = self._probes_at(model, task, regime, choice)
        # A table without a single probe may hold the column as numbers (all of them missing).
        of_probes = self.rows[f"selected.{PAPER}"].iloc[places]
        selected = ["none" if pd.isna(term) else str(term) for term in of_probes]
        return Votes({term: selected.count(term) for term in dict.fromkeys(selected)}, lr)

    def remarks(self, model: str) -> tuple[str, ...]:
        """List what a reader of any table of a model must know: failures, null terms, settings that differ."""
        here = self.rows.loc[:, self.rows.columns.isin(_REMARKED)][self.rows["model"] == model]
        remarks = []
        if failed := int(here["is_failed"].sum()):
            why = "; ".join(str(reason) for reason in here.loc[here["is_failed"], "failure"].dropna().unique()[:3])
            remarks.append(
                f"{failed:,} of {len(here):,} fine-tunes failed and enter no mean ({why or 'no reason given'})"
            )
        if len(here) > failed and (empty := int((~here["is_failed"] & here["value"].isna()).sum())):
            remarks.append(f"{empty:,} finished without a metric and enter no mean")
        null = {term for terms in here["null_terms"].dropna().unique() for term in str(terms).split("+")}
        remarks += [
            f"b_{term} is certified null on this model: alone it moves nothing but the head and a bias of the pooler"
            for term in CANDIDATES
            if term in null
        ]
        values = here.groupby([*_CELL, "lr"], sort=False)[list(SETTINGS)].nunique()
        remarks += [
            f"some means are over fine-tunes that differ in {words}"
            for name, words in SETTINGS.items()
            if (values[name] > 1).any()
        ]
        seeds = here[~here["is_failed"] & here["value"].notna()].groupby([*_CELL, "lr", "seed"], sort=False)["run"]
        if several := int((seeds.nunique() > 1).sum()):
            remarks.append(
                f"{several:,} seeds stand for several fine-tunes each, which differ in a setting that has no column, "
                "and count with the mean of these"
            )
        if optimizers(here).nunique() > 1:
            remarks.append(
                f"fine-tunes differ in AdamW's epsilon and are never averaged together: it is {usual(here)} where the "
                "name of a regime says nothing of it"
            )
        return tuple(remarks)


Results = pd.DataFrame | Runs
"""Result table (``beft_core.sweeps.table``), or what :class:`Runs` made of it, so that its means are made once."""


def checked(results: pd.DataFrame) -> pd.DataFrame:
    """Return a result table with numbers as such, a name for every regime ("300 examples" where it has none), which
    tells optimizers apart, and the column ``is_failed``. It shares all other columns with the table that was given.

    Raises:
        UserError: no rows, or a column of numbers that holds something else.
    """
    if results.empty:
        raise UserError("got a result table without rows", "at least one fine-tune", "beft sweep")
    numbers = {}
    for name in _NUMBERS:
        try:
            numbers[name] = pd.to_numeric(results[name])
        except (ValueError, TypeError) as error:
            raise UserError(f"got a result table whose column {name} holds no number ({error})", "numbers") from None
    is_failed = (results["state"] != "done").rename("is_failed")
    # Joined as a whole: inserting into a table of a block per column is slow.
    return with_regimes(pd.concat([results.assign(**numbers), is_failed], axis=1), unknown="unknown")


def regime_order(regime: str, size: float) -> tuple[int, float]:
    """Sort key of regimes: low to all, then the others by their number of examples."""
    return (REGIMES.index(regime), 0.0) if regime in REGIMES else (len(REGIMES), size)


def _over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Make one row per fine-tune and learning rate. A seed that stands several times counts once, with its mean."""
    by: Sequence[Hashable] = [*_CELL, "lr"]
    read = [*by, "seed", "value", "seconds", "trained_parameters", "total_parameters", "bank_runs"]
    done = rows[read][~rows["is_failed"] & rows["value"].notna()]
    seeds = done.groupby([*by, "seed"], sort=False, as_index=False).agg(
        value=("value", "mean"),
        seconds=("seconds", "mean"),
        parameters=("trained_parameters", "mean"),
        total=("total_parameters", "mean"),
        together=("bank_runs", "max"),
    )
    return seeds.groupby(list(by), sort=False, as_index=False).agg(
        value=("value", "mean"),
        spread=("value", "std"),
        seeds=("value", "size"),
        seconds=("seconds", "mean"),
        seconds_spread=("seconds", "std"),
        parameters=("parameters", "mean"),
        total=("total", "mean"),
        together=("together", "max"),
    )


def _times(factor: float, value: Any) -> float | None:
    return None if math.isnan(value) else factor * float(value)
