"""The same experiment on more or less data: which snapshots belong together, ranks and metrics over regimes."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from example_snapshots import base, example

from beft_core.scores.regimes import (
    metrics_alone,
    metrics_of,
    one_per_seed,
    only_term,
    over_regimes,
    same_experiment,
    same_task,
)
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import Snapshot, SnapshotMeta


def probe(seed: int, n_train: int | None, size: float = 0.3, **more: Any) -> Snapshot:
    meta = {"task": "sst2", "mode": "all", "n_train": n_train, "hyperparameters": {"lr": 1e-3}, **more}
    snapshot = example(seed + 10 * (n_train or 0), size=size, **meta)
    snapshot.meta = replace(snapshot.meta, seed=seed)
    return snapshot


def alone(term: str, value: float, lr: float = 1e-2, **more: Any) -> SnapshotMeta:
    trained = () if term == "k" else (term,)
    meta = example(task="sst2", mode="terms", n_train=100, null_terms=("k",), trained_terms=trained).meta
    return replace(meta, seed=0, hyperparameters={"lr": lr}, metrics=({"epoch": 1, "accuracy": value},), **more)


def test_seed_and_data_size_may_differ_and_nothing_else() -> None:
    one = probe(0, 100).meta
    steps = {"lr": 1e-3, "steps": 7, "lr_source": "given"}
    assert same_experiment(one, probe(1, 500, hyperparameters=steps).meta)
    for other in ({"task": "rte"}, {"mode": "full"}, {"hyperparameters": {"lr": 2e-3}}, {"layers": (0,)}):
        assert not same_experiment(one, probe(0, 100, **other).meta), other
    assert not same_experiment(one, probe(0, 100, pre=base(5)).meta)


def test_tables_of_one_name_are_one_task_only_if_their_heads_predict_the_same() -> None:
    columns = {"text": "review", "text_pair": None, "label": "stars"}
    head = {"kind": "classification", "labels": ["bad", "good"], "columns": columns}
    films = replace(alone("v", 0.9), task="file-train", heads={"file-train": head})
    assert same_task(films, replace(films, seed=1))
    others: list[dict[str, Any]] = [{"labels": ["ham", "spam"]}, {"columns": {**columns, "text": "mail"}}]
    for other in others:
        assert not same_task(films, replace(films, heads={"file-train": head | other})), other
    assert same_task(films, replace(films, heads={})), "of an import nothing is known"


def test_a_repeated_seed_counts_once() -> None:
    metas = [probe(seed, n).meta for seed, n in ((0, 100), (1, 100), (0, 100), (0, 500))]
    assert one_per_seed(metas) == [0, 1, 3]
    unknown = replace(metas[0], seed=None)
    assert one_per_seed([unknown, unknown]) == [0, 1]


def test_rows_are_means_and_ranks_over_seeds() -> None:
    snapshots = [probe(0, 100), probe(1, 100), probe(2, 100, size=2.0), probe(0, 500), probe(0, None)]
    tables = [(snapshot.meta, score_snapshot(snapshot)) for snapshot in snapshots]
    rows = over_regimes(tables, "encoder")
    assert list(rows["n_train"].unique()) == [100, 500] and len(rows) == 2 * 3 * 3
    for row in rows.itertuples():
        seeds = [t.mean_scores(row.approach) for m, t in tables if m.n_train == row.n_train]
        assert row.seeds == len(seeds) and row.mean == pytest.approx(np.mean([s[row.term] for s in seeds]))
        ranks = [1 + sum(other > s[row.term] for other in s.values()) for s in seeds]
        assert (row.rank_best, row.rank_worst) == (min(ranks), max(ranks))
        means = {term: statistics.mean(s[term] for s in seeds) for term in seeds[0]}
        assert row.rank == 1 + sum(other > means[row.term] for other in means.values())
    assert np.isnan(rows[rows["n_train"] == 500]["std"]).all() and not np.isnan(rows["std"][0])


def test_a_score_that_compares_with_a_start_at_zero_has_no_rank_to_draw() -> None:
    pre = base()
    for term in "qk":
        pre["encoder", term] = np.zeros_like(pre["encoder", term])
    snapshots = [probe(seed, 100, pre=pre) for seed in (0, 1)]
    rows = over_regimes([(one.meta, score_snapshot(one)) for one in snapshots], "encoder")
    ratio, moved = (rows[rows["approach"] == key] for key in ("projection_ratio", "magnitude"))
    assert list(ratio["term"]) == ["v"] and set(ratio["rank"]) == set(ratio["rank_worst"]) == {1}
    assert sorted(moved["term"]) == ["k", "q", "v"], "what moved farthest is told of all"


def test_nothing_to_draw_is_an_empty_table() -> None:
    assert over_regimes([], "encoder").empty
    lonely = probe(0, 100)
    assert over_regimes([(lonely.meta, score_snapshot(lonely))], "decoder").empty


def test_a_null_term_counts_although_it_stayed_frozen() -> None:
    assert [only_term(alone(term, 0.5)) for term in "qkv"] == ["q", "k", "v"]
    assert only_term(probe(0, 100).meta) is None
    assert only_term(replace(alone("q", 0.5), trained_terms=("q", "v"))) is None
    assert only_term(replace(alone("q", 0.5), trained_terms=("o",))) is None


def test_metrics_alone_are_compared_under_the_same_settings() -> None:
    metas = [alone("q", 0.9, lr=5e-2), *(alone(t, v) for t, v in (("v", 0.8), ("q", 0.7), ("k", 0.5)))]
    metas.append(replace(metas[1], seed=1, metrics=({"accuracy": 0.6},)))
    found = {m.term: m for m in metrics_alone(metas)}
    assert list(found) == ["q", "k", "v"]
    assert found["v"].mean == pytest.approx(0.7) and found["q"].values == (0.7,)
    assert found["k"].frozen and not found["v"].frozen
    assert metrics_alone([replace(metas[0], metrics=())]) == []


def test_each_may_add_the_bias_that_it_trains() -> None:
    metas = [
        replace(alone(term, value), hyperparameters={"lr": 1e-2, "add_bias": [term]})
        for term, value in (("v", 0.9), ("q", 0.8), ("k", 0.7))
    ]
    assert [m.term for m in metrics_alone(metas)] == ["q", "k", "v"]


def test_metrics_of_probes_by_size() -> None:
    metas = [probe(seed, n).meta for seed, n in ((0, 500), (0, 100), (1, 100))]
    assert [(m.n_train, m.term, m.values) for m in metrics_of(metas)] == [(100, None, (0.8, 0.8)), (500, None, (0.8,))]
