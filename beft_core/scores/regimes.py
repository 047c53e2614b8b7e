"""Comparison of one experiment on more or less training data: ranks, scores and metrics over regimes (paper, Fig. 1 and
Fig. 4).

Takes what snapshots say of themselves and their scores; numpy and pandas only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beft_core.methods import method_of
from beft_core.presets import hyperparameters
from beft_core.scores.table import ScoreTable, aggregate_seeds, rank_terms
from beft_core.snapshots.meta import SnapshotMeta
from beft_core.tasks.own_table import answers_the_same
from beft_core.terms import CANDIDATES

if TYPE_CHECKING:
    import pandas as pd

OUTCOMES: tuple[str, ...] = ("steps", "stopped_early", "lr_source")
"""Hyper-parameters that may differ between regimes, since they follow from the amount of data or the course of
the run, or say no more than where another is from.
"""


def same_task(one: SnapshotMeta, other: SnapshotMeta) -> bool:
    """Whether two fine-tunes are of the same base model on the same task, so that their metrics can be compared.

    Tables of the user's own may share a name, such as that of their files; then what their heads predict tells them.
    """
    if not one.model.shares_base(other.model) or (one.task, one.metric) != (other.task, other.metric):
        return False
    heads = [meta.heads[meta.task] for meta in (one, other) if meta.task in meta.heads]
    return len(heads) < 2 or answers_the_same(*heads)


def same_experiment(one: SnapshotMeta, other: SnapshotMeta) -> bool:
    """Whether two fine-tunes differ in nothing but the seed and the number of training examples."""
    return same_task(one, other) and settings_key(one) == settings_key(other)


def settings_key(meta: SnapshotMeta) -> str:
    """Write what was trained and how, without seed and data: fine-tunes that differ in it are no seeds of one."""
    return json.dumps([meta.mode, sorted(meta.trained_terms), meta.layers, chosen_settings(meta)], sort_keys=True)


def chosen_settings(meta: SnapshotMeta) -> dict[str, Any]:
    """List the hyper-parameters that somebody chose, by name; without those that follow from them."""
    return {name: value for name, value in hyperparameters(meta.hyperparameters).items() if name not in OUTCOMES}


def one_per_seed(metas: Iterable[SnapshotMeta]) -> list[int]:
    """Positions of the fine-tunes to keep, so that one that was repeated with its seed is not counted as two."""
    kept: dict[tuple[object, ...], int] = {}
    for at, meta in enumerate(metas):
        kept.setdefault((meta.n_train, settings_key(meta), at if meta.seed is None else meta.seed), at)
    return list(kept.values())


def over_regimes(probes: Sequence[tuple[SnapshotMeta, ScoreTable]], stack: str) -> pd.DataFrame:
    """Ranks and scores of every term by every approach, for each number of training examples.

    ``probes``: fine-tunes of one experiment (:func:`same_experiment`). One row per n_train, approach and term, in
    increasing n_train: regime (its name, if it has one), seeds, mean and std of the score over seeds (n - 1; NaN for
    one seed), rank of the mean score, best and worst rank of a seed. Probes that do not say n_train are left out, and
    so are terms whose score by an approach has no meaning, since they started at zero.
    """
    import pandas as pd

    frames = []
    for size in sorted({meta.n_train for meta, _ in probes if meta.n_train is not None}):
        here = [(meta, table) for meta, table in probes if meta.n_train == size and stack in table.stacks]
        if not here:
            continue
        rows = aggregate_seeds([table for _, table in here])
        rows = rows[rows["stack"] == stack]
        of_terms = [table.rows(stack) for _, table in here]
        meant = [
            not any(term in of and of[term].undefined_from_zero(approach) for of in of_terms)
            for term, approach in zip(rows["term"], rows["approach"], strict=True)
        ]
        rows = rows[meant].copy()
        rows["rank"] = 0
        for approach, group in rows.groupby("approach"):
            ranks = rank_terms(dict(zip(group["term"], group["mean"], strict=True)))
            rows.loc[group.index, "rank"] = group["term"].map(ranks)
            scores = [table.mean_scores(str(approach), stack) for _, table in here]
            of_seeds = [rank_terms({term: one[term] for term in group["term"] if term in one}) for one in scores]
            for name, choose in (("rank_best", min), ("rank_worst", max)):
                rows.loc[group.index, name] = [choose(r[t] for r in of_seeds if t in r) for t in group["term"]]
        rows.insert(0, "n_train", size)
        rows.insert(1, "regime", next((meta.regime for meta, _ in here if meta.regime), None))
        frames.append(rows.drop(columns=["stack", "first", "first_of_candidates"]))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


@dataclass(frozen=True)
class Measured:
    """Metric after the last epoch, over the seeds of one kind of fine-tune on one amount of data."""

    n_train: int
    term: str | None
    """Name of the only term that was trained; None: all of them."""
    values: tuple[float, ...]
    """Metric after the last epoch, one value per seed."""
    frozen: bool = False
    """Whether the term is null and so was not trained: this is what the head does alone."""

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values)


def last_metric(meta: SnapshotMeta) -> float | None:
    """Get the primary metric after the last epoch, which is what the paper reports; None where it was not measured, or
    of other biases than those of the end.
    """
    return meta.final_metrics.get(meta.metric) if meta.metric else None


def only_term(meta: SnapshotMeta) -> str | None:
    """Find the one candidate that a term-only fine-tune was about; a null one counts although it stayed frozen."""
    if not method_of(meta.mode).names_terms:
        return None
    asked = meta.trained_terms or tuple(term for term in meta.null_terms if term in CANDIDATES)
    return asked[0] if len(asked) == 1 and asked[0] in CANDIDATES else None


def metrics_of(probes: Sequence[SnapshotMeta]) -> list[Measured]:
    """Measure the metric of the probes themselves, for each number of training examples."""
    return _by_size({None: list(probes)})


def metrics_alone(metas: Sequence[SnapshotMeta]) -> list[Measured]:
    """Measure the metric of fine-tunes of one candidate alone, for each candidate and number of training examples.

    Terms are only comparable under the same settings: of several settings, the one that covers most terms counts,
    then the one with most runs. Which zero biases were added is no such setting: those that stay zero change nothing.
    """
    by_settings: dict[tuple[int | None, str], dict[str | None, list[SnapshotMeta]]] = {}
    for meta in metas:
        term = only_term(meta)
        if term is not None and last_metric(meta) is not None:
            settings = {name: value for name, value in chosen_settings(meta).items() if name != "add_bias"}
            key = meta.n_train, json.dumps([meta.layers, settings], sort_keys=True)
            by_settings.setdefault(key, {}).setdefault(term, []).append(meta)
    found = []
    for size in {size for size, _ in by_settings if size is not None}:
        groups = [group for (of, _), group in by_settings.items() if of == size]
        found += _by_size(max(groups, key=lambda group: (len(group), sum(map(len, group.values())))))
    return sorted(found, key=lambda m: (m.n_train, CANDIDATES.index(m.term or "q")))


def _by_size(groups: Mapping[str | None, Sequence[SnapshotMeta]]) -> list[Measured]:
    found = []
    for term, metas in groups.items():
        values: dict[int, list[float]] = {}
        for meta in metas:
            value = last_metric(meta)
            if meta.n_train is not None and value is not None:
                values.setdefault(meta.n_train, []).append(value)
        frozen = term is not None and all(not meta.trained_terms for meta in metas)
        found += [Measured(size, term, tuple(values[size]), frozen) for size in sorted(values)]
    return found
