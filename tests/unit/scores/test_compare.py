"""Comparing any snapshots: against SciPy and formulas by hand, and every reason for what cannot be compared."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from example_snapshots import LAYERS, WIDTH, base, example
from scipy.stats import kendalltau

from beft_core.scores.compare import (
    Moves,
    agreement,
    alike,
    chance,
    cosines,
    differences,
    differing,
    everything,
    settings,
)
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.meta import NO_BIASES
from beft_core.snapshots.snapshot import Snapshot

SIX = ("q", "k", "v", "o", "mlp_in", "ln1")


def test_differences_are_first_minus_second() -> None:
    a, b = (score_snapshot(example(seed, full=True)) for seed in (1, 2))
    for approach in a.approaches:
        for found, x, y in zip(differences(a, b, approach, "encoder"), a.terms, b.terms, strict=True):
            assert found.term == x.term == y.term and found.reason is None
            np.testing.assert_array_equal(found.layers, x.scores[approach] - y.scores[approach])
            assert found.mean == pytest.approx(np.mean(x.scores[approach]) - np.mean(y.scores[approach]))


def _layers(snapshot: Snapshot, count: int) -> Snapshot:
    """The same with fewer layers."""
    meta = replace(snapshot.meta, model=replace(snapshot.meta.model, layers=count))
    keys = snapshot.keys()
    return Snapshot.build(
        meta, {k: snapshot.pre(*k)[:count] for k in keys}, {k: snapshot.post(*k)[:count] for k in keys}
    )


@pytest.mark.parametrize(
    ("other", "term", "reason"),
    [
        (example(2, trained_terms=("v",)), "q", "not trained in B"),
        (example(2, trained_terms=("q", "v"), null_terms=("k",)), "k", "null and frozen in B"),
        (example(2, pre=base(terms=("q", "v"))), "k", "absent in B"),
        (_layers(example(2), 2), "v", "3 and 2 layers: only the means compare"),
    ],
)
def test_what_cannot_be_subtracted_says_why(other: Snapshot, term: str, reason: str) -> None:
    a, b = score_snapshot(example(1)), score_snapshot(other)
    found = {one.term: one for one in differences(a, b, "projection_ratio", "encoder")}
    assert found[term].reason == reason and found[term].layers is None
    assert (found[term].mean is None) == ("layers" not in reason)
    assert differences(b, a, "projection_ratio", "encoder", ("B", "A"))[0].term == "q"


def test_reasons_that_both_share_are_told_once() -> None:
    table = score_snapshot(example(1, trained_terms=("q", "v"), null_terms=("k",)))
    assert differences(table, table, "magnitude", "encoder")[1].reason == "null and frozen in both"
    assert {one.reason for one in differences(table, table, "fisher", "encoder")} == {"not measured in both"}
    assert differences(table, table, "magnitude", "decoder") == ()


def test_cosines_by_hand() -> None:
    a, b = example(1, pre=base(terms=SIX)), example(2, pre=base(terms=SIX))
    whole = []
    for found in alike(Moves(a), Moves(b), "encoder"):
        x, y = (s.post("encoder", found.term).astype(float) - s.pre("encoder", found.term) for s in (a, b))
        whole.append((x, y))
        assert found.layers is not None and found.layers.shape == (LAYERS,)
        for layer in range(LAYERS):
            expected = x[layer] @ y[layer] / np.linalg.norm(x[layer]) / np.linalg.norm(y[layer])
            assert found.layers[layer] == pytest.approx(expected, abs=1e-12)
        assert found.whole == pytest.approx(np.vdot(x, y) / np.linalg.norm(x) / np.linalg.norm(y), abs=1e-12)
    x, y = (np.concatenate([pair[side].ravel() for pair in whole]) for side in (0, 1))
    matrix = cosines([Moves(a), Moves(b)], "encoder")
    assert matrix[0, 1] == matrix[1, 0] == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), abs=1e-12)
    np.testing.assert_allclose(np.diag(matrix), 1)
    assert cosines([Moves(a), Moves(b)], "encoder", ["v"])[0, 1] == pytest.approx(
        next(found.whole for found in alike(Moves(a), Moves(b), "encoder") if found.term == "v")
    )


def test_opposite_movements_and_a_layer_that_stood_still() -> None:
    one = example(1, pre=base(terms=("v",)))
    pre, post = one.pre("encoder", "v"), one.post("encoder", "v").copy()
    post[1] = pre[1]
    back = Snapshot.build(one.meta, {("encoder", "v"): pre}, {("encoder", "v"): 2 * pre - post})
    (found,) = alike(Moves(one), Moves(back), "encoder")
    assert found.layers is not None and found.layers[[0, 2]] == pytest.approx([-1, -1], abs=1e-6)
    assert np.isnan(found.layers[1]) and found.whole is not None and -1 < found.whole < -0.5


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (example(2, pre=base(7)), "started from different values: another base model"),
        (_layers(example(2), 2), f"{LAYERS} × {WIDTH} and 2 × {WIDTH}"),
        (example(2, trained_terms=("q", "k")), "not trained in B"),
        (Snapshot.build(example(2).meta, base(), base()), "did not move in B"),
        (example(2, pre=base(terms=("q", "k"))), "absent in B"),
        (example(2, pre=base(stack="decoder")), "absent in B"),
    ],
)
def test_directions_that_cannot_be_compared_say_why(other: Snapshot, reason: str) -> None:
    a, b = Moves(example(1)), Moves(other)
    found = {one.term: one for one in alike(a, b, "encoder")}["v"]
    assert (found.layers, found.whole, found.reason) == (None, None, reason)
    assert np.isnan(cosines([a, b], "encoder", ["v"])[0, 1])


def test_null_terms_are_left_out_of_the_whole() -> None:
    a, b = (Moves(example(seed, null_terms=("k",))) for seed in (1, 2))
    assert cosines([a, b], "encoder")[0, 1] == cosines([a, b], "encoder", ["q", "v"])[0, 1]
    acts = Moves(example(2))  # certified by another lab, or not at all: what is noise in one says nothing of the other
    for pair in ([a, acts], [acts, a]):
        assert cosines(pair, "encoder")[0, 1] == cosines(pair, "encoder", ["q", "v"])[0, 1]


def test_chance_holds_nineteen_of_twenty_random_directions() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 20_000, 200))
    inside = np.abs((x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)) < chance(200)
    assert 0.94 < inside.mean() < 0.96


def test_agreement_is_over_the_terms_that_have_a_score_in_both() -> None:
    a = score_snapshot(example(1, pre=base(terms=SIX), null_terms=("k",), trained_terms=("q", "v", "o", "ln1")))
    b = score_snapshot(example(2, pre=base(terms=SIX), trained_terms=("q", "v", "o", "mlp_in")))
    found = agreement(a, b, "magnitude", "encoder")
    assert found.terms == ("q", "v", "o")
    x, y = ([table.mean_scores("magnitude")[t] for t in found.terms] for table in (a, b))
    assert found.kendall == pytest.approx(kendalltau(x, y).statistic)
    for side, scores in enumerate((x, y)):
        assert [ranks[side] for ranks in found.ranks.values()] == [1 + sum(s > one for s in scores) for one in scores]


def test_only_what_differs_is_told() -> None:
    a = replace(example(1, hyperparameters={"lr": 1e-3, "epochs": 2}).meta, seed=0)
    b = replace(a, hyperparameters={"lr": 2e-3, "epochs": 2}, seed=1)
    assert differing([a, b]) == {"lr": ["0.001", "0.002"], "seed": ["0", "1"]}
    assert differing([a, a]) == {} and "base model" in settings(a)
    assert settings(a)["base biases (SHA-256)"] == a.model.fingerprint[:12]
    unlooked = replace(a, model=replace(a.model, fingerprint=NO_BIASES))
    assert not [name for name in settings(unlooked) if "SHA-256" in name]
    looked = replace(unlooked, model=replace(unlooked.model, weights="b" * 64))
    assert settings(looked)["base weights (SHA-256 of rows)"] == "b" * 12
    c = replace(a, hyperparameters={"epochs": 2})
    assert differing([a, c]) == {"lr": ["0.001", "–"]}


def test_a_table_of_ones_own_says_how_it_was_read() -> None:
    columns = {"text": "review", "text_pair": None, "label": "stars"}
    pairs = {"kind": "regression", "labels": None, "columns": columns | {"text_pair": "title"}}
    head = {"kind": "classification", "labels": ["bad", "good"], "columns": columns}
    made = [
        example(task="films", heads={"films": one}, provenance={"data": f"{n}.csv"}).meta
        for n, one in enumerate((head, pairs))
    ]
    assert differing(made) == {
        "rows": ["0.csv", "1.csv"],
        "columns": ["review → stars", "review + title → stars"],
        "labels": ["2 classes: bad, good", "a number"],
    }
    assert "columns" not in settings(example(full=True).meta)  # a task of the lab


def test_the_table_of_everything_holds_every_number_once() -> None:
    pytest.importorskip("pandas")
    snapshots = [example(seed, full=True) for seed in (1, 2, 3)]
    tables, moves = [score_snapshot(s) for s in snapshots], [Moves(s) for s in snapshots]
    frame = everything(["a", "b", "c"], tables, moves)
    assert not frame.duplicated(["snapshot", "other", "stack", "term", "layer", "quantity"]).any()
    pairs = frame[frame.other != ""]
    assert set(zip(pairs.snapshot, pairs.other, strict=True)) == set(itertools.combinations("abc", 2))
    one = frame.query("snapshot == 'b' and other == '' and term == 'v' and quantity == 'magnitude'")
    np.testing.assert_array_equal(one.value, tables[1].terms[2].scores["magnitude"])
    whole = frame.query("quantity == 'cosine of movements' and other == 'c' and snapshot == 'a' and term == 'q'")
    assert whole.value.iloc[-1] == alike(moves[0], moves[2], "encoder")[0].whole and len(whole) == LAYERS + 1
