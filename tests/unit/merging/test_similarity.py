"""Cosines, angles and sign conflicts between fine-tunes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from example_snapshots import LAYERS, WIDTH, base, example

from beft_core.merging.similarity import compare
from beft_core.snapshots.snapshot import Snapshot

V = ("encoder", "v")


def test_comparison_of_known_angles() -> None:
    pre = base(terms=("v",))
    flat = np.zeros((LAYERS, WIDTH))
    moves = [flat.copy(), flat.copy(), flat.copy()]
    moves[0][:, 0] = 1.0
    moves[1][:, :2] = 1.0
    moves[2][:, :2] = [[-1.0, 1.0]] * LAYERS
    sources = [
        Snapshot.build(example(seed, pre=pre).meta, pre, {V: pre[V] + move}) for seed, move in enumerate(moves, 1)
    ]
    result = compare(sources)
    assert result.labels == ("task1", "task2", "task3")
    expected = np.array([[0, 45, 135], [45, 0, 90], [135, 90, 0]])
    np.testing.assert_allclose(result.differences.angle_degrees, expected, atol=1e-4)
    for layer in range(LAYERS):
        np.testing.assert_allclose(result.differences.angle_degrees_per_layer[V][layer], expected, atol=1e-4)
    conflicts = np.array([[0, 0, 1], [0, 0, 0.5], [1, 0.5, 0]])
    np.testing.assert_array_equal(result.sign_conflicts, conflicts)
    np.testing.assert_array_equal(result.sign_conflicts_per_layer[V], [conflicts] * LAYERS)


def test_values_and_differences_are_compared_apart() -> None:
    sources = [example(seed, size=0.01) for seed in (1, 2)]
    result = compare(sources, terms=["v", "q"])
    flat = [np.concatenate([s.post("encoder", t).ravel() for t in "qv"]).astype(float) for s in sources]
    expected = flat[0] @ flat[1] / np.linalg.norm(flat[0]) / np.linalg.norm(flat[1])
    assert result.values.cosine[0, 1] == pytest.approx(expected, abs=1e-12)
    assert result.values.cosine[0, 1] > 0.99 and abs(result.differences.cosine[0, 1]) < 0.5
    assert set(result.values.cosine_per_layer) == {("encoder", "q"), V}
    one = [s.post(*V)[1].astype(float) for s in sources]
    assert result.values.cosine_per_layer[V][1, 0, 1] == pytest.approx(
        one[0] @ one[1] / np.linalg.norm(one[0]) / np.linalg.norm(one[1]), abs=1e-12
    )
    np.testing.assert_allclose(result.differences.cosine, result.differences.cosine.T, atol=1e-15)


def test_labels_tell_seeds_and_numbers_apart() -> None:
    assert compare([example(1), example(2)]).labels == ("task1", "task2")
    same = [example(1, task="a"), example(2, task="a")]
    seeds = [dataclasses.replace(s.meta, seed=number) for number, s in enumerate(same, 3)]
    named = [
        Snapshot.build(dataclasses.replace(meta, trained_terms=("v",)), {V: s.pre(*V)}, {V: s.post(*V)})
        for meta, s in zip(seeds, same, strict=True)
    ]
    assert compare(named).labels == ("a, seed 3", "a, seed 4")
    assert compare([example(1), example(1)]).labels == ("1: task1, seed None", "2: task1, seed None")
