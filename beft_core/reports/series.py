"""Series that the paper's figures and its section 3.4 draw, from a sweep's result table: tidy tables, metrics in
percent.

A standard deviation is over seeds (n - 1) and NaN for one seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from beft_core.errors import UserError
from beft_core.reports.seed_means import LrChoice, Results, Runs, regime_order
from beft_core.reports.selection.prediction import match_grids
from beft_core.scores.approaches import APPROACHES, PAPER, of_probes
from beft_core.terms import CANDIDATES, TERM_KEYS

FIGURE_COLUMNS: tuple[str, ...] = (
    "model",
    "task",
    "regime",
    "n_train",
    "approach",
    "term",
    "probes",
    "probe_lr",
    "score",
    "score_std",
    "rank",
    "rank_min",
    "rank_max",
    "selected",
    "value",
    "value_std",
    "seeds",
    "lr",
)
LR_COLUMNS: tuple[str, ...] = (
    "model",
    "task",
    "regime",
    "term",
    "lr",
    "probe_lr",
    "score",
    "score_std",
    "probes",
    "value",
    "value_std",
    "seeds",
)
EPOCH_COLUMNS: tuple[str, ...] = ("model", "task", "regime", "trains", "lr", "epoch", "value", "std", "seeds")

_CELL = ["model", "task", "regime"]


def figure4(results: Results, lr: LrChoice = "best") -> pd.DataFrame:
    """List the ranks of all terms by every approach, and the metric of the candidates alone: :data:`FIGURE_COLUMNS`.

    One row per model, task, regime, approach and term that probes scored. ``rank`` (1 is the highest of all eight):
    mean over the probes at ``probe_lr`` (NaN: of all learning rates), with its least and its largest; ``selected``: how
    many of the probes select the term. ``value``: the metric of the term alone at ``lr``, NaN for those that are no
    candidates or have no run.
    """
    runs = Runs.of(results)
    rows = []
    for model in runs.models:
        for task in runs.tasks(model):
            for regime in runs.regimes(model, task):
                probes, probe_lr = runs.probes(model, task, regime, lr)
                size = probes["n_train"].max()
                alone = {term: runs.at((model, task, regime, term), lr) for term in CANDIDATES}
                for approach in of_probes():
                    for term, count, *scored in _scored(probes, approach):
                        mean = alone.get(term)
                        metric = (mean.value, mean.spread, mean.seeds, mean.lr) if mean else (None, None, 0, None)
                        rows.append((model, task, regime, size, approach, term, count, probe_lr, *scored, *metric))
    return _numbers(rows, FIGURE_COLUMNS, ("probe_lr", "value", "value_std", "lr"))


def _scored(probes: pd.DataFrame, approach: str) -> Iterator[tuple[Any, ...]]:
    """Yield the terms that some probe scored: term, probes, score and its deviation, mean, least and largest rank, and
    by how many probes it was selected. A term that started at zero has no score that compares with its start, and so
    no rank by it.
    """
    scores, ranks = (
        pd.DataFrame(probes[[f"{what}{approach}.{term}" for term in TERM_KEYS]].to_numpy(float, na_value=np.nan))
        for what in ("", "rank.")
    )
    selected = probes[f"selected.{approach}"].tolist()
    columns = (scores.count(), scores.mean(), scores.std(), ranks.mean(), ranks.min(), ranks.max())
    from_zero = (probes[[f"pre_norm.{term}" for term in TERM_KEYS]].to_numpy(float, na_value=np.nan) == 0).any(axis=0)
    null = {term for terms in probes["null_terms"].dropna() for term in str(terms).split("+")}  # frozen: they score 0
    for term, zero, count, *numbers in zip(TERM_KEYS, from_zero, *columns, strict=True):
        if count and not (APPROACHES[approach].from_start and zero and term not in null):
            yield term, count, *numbers, selected.count(term)


def figure1(results: Results, lr: LrChoice = "best") -> pd.DataFrame:
    """Select the part of :func:`figure4` that the paper's Figure 1 shows: SST-2 in the low regime, q, k and v."""
    whole = figure4(results, lr)
    shown = (whole["task"] == "sst2") & (whole["regime"] == "low") & whole["term"].isin(CANDIDATES)
    return whole[shown].reset_index(drop=True)


def score_vs_lr(results: Results) -> pd.DataFrame:
    """Table for the question whether a learning rate that moves a term further also serves it better:
    :data:`LR_COLUMNS` (section 3.4).

    One row per learning rate of a fine-tune of q, k or v alone, or of all biases (term "all", which has no score).
    ``score``: mean projection ratio of the term over the ``probes`` at ``probe_lr``, which belongs to ``lr`` as in
    ``prediction.match_grids``: the same where both have it. ``value``: metric of the term alone. NaN where there is no
    such run; without any fine-tune of one term, scores stand at the learning rates of the probes.
    """
    rows = Runs.of(results).rows
    done = rows[~rows["is_failed"]]
    probes = done[done["trains"] == "all"].melt(
        [*_CELL, "lr"], [f"{PAPER}.{term}" for term in CANDIDATES], var_name="term", value_name="of"
    )
    probes["term"] = probes["term"].str.removeprefix(f"{PAPER}.")
    probes["of"] = pd.to_numeric(probes["of"])
    scores = probes.groupby([*_CELL, "term", "lr"])["of"].agg(score="mean", score_std="std", probes="count")
    scores = (
        scores.rename_axis(index={"lr": "probe_lr"}).reset_index().merge(_counterparts(rows), on=[*_CELL, "probe_lr"])
    )
    alone = done[done["trains"].isin([*CANDIDATES, "all"]) & done["value"].notna()].rename(columns={"trains": "term"})
    per_seed = 100 * alone.groupby([*_CELL, "term", "lr", "seed"])["value"].mean()
    values = per_seed.groupby([*_CELL, "term", "lr"]).agg(value="mean", value_std="std", seeds="count").reset_index()
    table = scores.merge(values, on=[*_CELL, "term", "lr"], how="outer")
    table[["probes", "seeds"]] = table[["probes", "seeds"]].fillna(0).astype(int)
    return _in_order(table[list(LR_COLUMNS)], rows, "term")


def _counterparts(rows: pd.DataFrame) -> pd.DataFrame:
    """Match learning rates of probes with those of the fine-tunes of one term: _CELL, probe_lr, lr."""
    found: list[tuple[object, ...]] = []
    for cell, group in rows.groupby(_CELL, sort=False):
        of_probes = sorted(set(group.loc[group["trains"] == "all", "lr"]))
        of_terms = sorted(set(group.loc[group["trains"].isin(CANDIDATES), "lr"])) or of_probes
        found += [(*cell, *pair) for pair in match_grids(of_probes, of_terms)]
    return pd.DataFrame(found, columns=[*_CELL, "probe_lr", "lr"]).astype({"probe_lr": float, "lr": float})


def metric_vs_epoch(results: Results) -> pd.DataFrame:
    """Compute the mean curve over seeds of everything that was trained, at each learning rate: :data:`EPOCH_COLUMNS`.

    Raises:
        UserError: a curve that is no JSON list of numbers.
    """
    rows = Runs.of(results).rows
    done = rows[~rows["is_failed"] & rows["curve"].notna()]
    long = done[[*_CELL, "trains", "lr", "seed"]].assign(value=[_curve(text) for text in done["curve"]])
    long["epoch"] = [list(range(1, len(curve) + 1)) for curve in long["value"]]
    long = long.explode(["value", "epoch"]).dropna(subset=["value"])
    long = long.astype({"value": float, "epoch": int})
    by = [*_CELL, "trains", "lr", "epoch"]
    per_seed = 100 * long.groupby([*by, "seed"])["value"].mean()
    table = per_seed.groupby(by).agg(value="mean", std="std", seeds="count").reset_index()
    return _in_order(table[list(EPOCH_COLUMNS)], rows, "trains")


def _curve(text: object) -> list[float | None]:
    try:
        values = json.loads(str(text))
        if isinstance(values, list):
            return [None if value is None else float(value) for value in values]
    except (ValueError, TypeError, RecursionError):
        pass
    raise UserError(f"got the curve {str(text)[:60]!r} in a result table", "a JSON list of numbers")


def _in_order(table: pd.DataFrame, rows: pd.DataFrame, what: str) -> pd.DataFrame:
    """Sort rows: models and tasks as they come in the result table, regimes by size, v, q and k before all else."""
    sizes = rows.groupby("regime")["n_train"].min()
    places: dict[str, dict[str, Any]] = {
        "model": {name: at for at, name in enumerate(rows["model"].unique())},
        "task": {name: at for at, name in enumerate(rows["task"].unique())},
        "regime": {name: regime_order(str(name), size) for name, size in sizes.items()},
        what: {name: at for at, name in enumerate(dict.fromkeys(["v", "q", "k", *rows["trains"].unique()]))},
    }
    keys = list(zip(*([of[value] for value in table[name]] for name, of in places.items()), strict=True))
    order = sorted(range(len(table)), key=keys.__getitem__)
    return table.iloc[order].reset_index(drop=True)


def _numbers(rows: list[tuple[object, ...]], columns: tuple[str, ...], may_lack: tuple[str, ...]) -> pd.DataFrame:
    # None would make a column of objects.
    return pd.DataFrame(rows, columns=list(columns)).astype(dict.fromkeys(may_lack, float))
