"""What a merge does to its sources, before anything is scored."""

from __future__ import annotations

import numpy as np
import pytest
from example_snapshots import LAYERS, example

from beft_core.merging.merge import merge
from beft_core.merging.preview import preview
from beft_core.snapshots.snapshot import Snapshot

V = ("encoder", "v")


def moved(snapshot: Snapshot) -> np.ndarray:
    return snapshot.post(*V).astype(float) - snapshot.pre(*V).astype(float)


def test_lengths_cosines_and_shares_by_hand() -> None:
    pair = [example(seed, trained_terms=("v",)) for seed in (1, 2)]
    found = preview(pair, merge(pair, "weighted", weights=[3, 1]))
    a, b = (moved(one) for one in pair)
    total = 0.75 * a + 0.25 * b
    assert list(found.lengths) == [V] and found.lengths[V].shape == (3, LAYERS)
    for row, delta in zip(found.lengths[V], (a, b, total), strict=True):
        np.testing.assert_allclose(row, np.sqrt((delta**2).sum(axis=1)), rtol=1e-5)
    for number, delta in enumerate((a, b)):
        dot = float((delta * total).sum())
        sizes = float(np.sqrt((delta**2).sum() * (total**2).sum()))
        assert found.cosine[number] == pytest.approx(dot / sizes, abs=1e-5)
        assert found.kept[number] == pytest.approx(dot / float((delta**2).sum()), rel=1e-4)


def test_a_merge_of_one_fine_tune_with_itself_keeps_all_of_it() -> None:
    one = example(1, trained_terms=("v",))
    found = preview([one, one], merge([one, one], "mean"))
    np.testing.assert_allclose(found.kept, 1, rtol=1e-5)
    np.testing.assert_allclose(found.cosine, 1, rtol=1e-6)


def test_a_merge_scaled_to_nothing_keeps_nothing() -> None:
    pair = [example(1), example(2)]
    found = preview(pair, merge(pair, "task_arithmetic", scale=0.0))
    np.testing.assert_array_equal(found.kept, 0)
