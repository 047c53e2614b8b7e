"""Shares of a fine-tune's change, term by term and layer by layer."""

from __future__ import annotations

import numpy as np
import pytest

from beft_core.errors import UserError
from beft_core.inference.variants import Variant, changed_layers
from beft_core.snapshots.snapshot import ModelInfo, Snapshot, SnapshotMeta

V, Q = ("encoder", "v"), ("encoder", "q")
PRE = {V: np.full((3, 2), 0.1, np.float32), Q: np.zeros((3, 2), np.float32)}
POST = {V: PRE[V] + np.float32([[0.3], [0], [0.7]]), Q: PRE[Q] + np.float32([[0], [0], [1]])}


@pytest.fixture
def snapshot() -> Snapshot:
    return Snapshot.build(SnapshotMeta(ModelInfo("m", None, "bert", 3, 2, "0" * 64), "t"), PRE, POST)


def test_the_ends_are_what_is_stored_to_the_bit(snapshot: Snapshot) -> None:
    for key in (V, Q):
        np.testing.assert_array_equal(Variant(snapshot, "t").values(key), POST[key])
        np.testing.assert_array_equal(Variant.before(snapshot, "t").values(key), PRE[key])


def test_one_layer_goes_back_in_every_term(snapshot: Snapshot) -> None:
    without = Variant.without_layer(snapshot, "t", 2)
    for key in (V, Q):
        np.testing.assert_array_equal(without.values(key)[:2], POST[key][:2])
        np.testing.assert_array_equal(without.values(key)[2], PRE[key][2])


def test_factors_of_one_term_leave_the_others(snapshot: Snapshot) -> None:
    half = Variant(snapshot, "t", {"v": 0.5})
    np.testing.assert_allclose(half.values(V), (PRE[V] + POST[V]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(half.values(Q), POST[Q])
    beyond = Variant(snapshot, "t", {"v": np.array([2.0, 1.0, -1.0])}).values(V)
    np.testing.assert_allclose(beyond[:, 0], [0.7, 0.1, -0.6], rtol=1e-6)
    assert beyond.dtype == np.float32


@pytest.mark.parametrize("factor", [np.ones(2), float("nan"), np.array([1.0, np.inf, 0.0])])
def test_other_factors_are_refused(snapshot: Snapshot, factor: float | np.ndarray) -> None:
    with pytest.raises(UserError, match="for v; expected one finite number"):
        Variant(snapshot, "t", {"v": factor}).values(V)


def test_layers_that_changed(snapshot: Snapshot) -> None:
    assert changed_layers(snapshot) == [0, 2]
    assert changed_layers(Snapshot.build(snapshot.meta, PRE, PRE)) == []


def test_variants_are_told_apart_by_all_that_they_are_of(snapshot: Snapshot) -> None:
    half = Variant(snapshot, "t", {"v": 0.5, "q": np.ones(3)})
    assert half.identity == Variant(snapshot, "t", {"q": np.ones(3), "v": 0.5}).identity
    other = Snapshot.build(snapshot.meta, PRE, POST)
    different = [
        Variant(snapshot, "u", half.factors),
        Variant(other, "t", half.factors),
        Variant(snapshot, "t", {"v": 0.5, "q": np.array([1, 1, 0.9])}),
        Variant(snapshot, "t", {"v": 0.5}),
        Variant.before(snapshot, "t"),
        Variant.without_layer(snapshot, "t", 0),
        Variant.without_layer(snapshot, "t", 1),
    ]
    assert len({one.identity for one in (half, *different)}) == 8
