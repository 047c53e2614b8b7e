"""Methods of merging against naive loops written from the papers, and their parameters."""

from __future__ import annotations

import math
import random

import numpy as np
from example_snapshots import LAYERS, WIDTH, example
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from beft_core.merging.merge import merge
from beft_core.merging.methods import METHODS, Parameter
from beft_core.snapshots.snapshot import Snapshot

V = ("encoder", "v")


Rows = list[list[float]]


DELTAS = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7),
    elements=st.floats(-10, 10, allow_subnormal=False),
)


TWO = arrays(np.float64, st.tuples(st.just(2), st.integers(1, 7)), elements=st.floats(-10, 10, width=16))


def naive_ties(deltas: Rows, density: float, scale: float) -> list[float]:
    """Section 3.2 of TIES-Merging, one number at a time."""
    width = len(deltas[0])
    count = max(1, round(density * width))
    trimmed = []
    for delta in deltas:
        order = sorted(range(width), key=lambda i: (-abs(delta[i]), i))
        trimmed.append([delta[i] if i in order[:count] else 0.0 for i in range(width)])
    merged = []
    for i in range(width):
        column = [delta[i] for delta in trimmed]
        total = sum(column)
        agree = [x for x in column if x * total > 0 or (x > 0 < total) or (x < 0 > total)]
        merged.append(scale * sum(agree) / len(agree) if agree else 0.0)
    return merged


def naive_slerp(a: list[float], b: list[float], t: float) -> list[float]:
    """Rotate the unit vector of a towards b in their plane, found by Gram-Schmidt; then undo the units."""
    norm_a, norm_b = math.hypot(*a), math.hypot(*b)
    u = [x / norm_a for x in a]
    along = sum(x * y for x, y in zip(u, b, strict=True))
    rest = [y - along * x for x, y in zip(u, b, strict=True)]
    angle = math.atan2(math.hypot(*rest), along)
    w = [x / math.hypot(*rest) for x in rest]
    # sin((1-t)W)/sin W a + sin(tW)/sin W b, with a = |a| u and b = |b| (cos W u + sin W w)
    from_a, from_b = norm_a * math.sin((1 - t) * angle), norm_b * math.sin(t * angle)
    on_u = (from_a + from_b * math.cos(angle)) / math.sin(angle)
    return [on_u * x + from_b * y for x, y in zip(u, w, strict=True)]


@given(DELTAS, st.floats(0.01, 1), st.floats(0, 2))
def test_ties_equals_the_naive_loop(deltas: np.ndarray, density: float, scale: float) -> None:
    expected = naive_ties(deltas.tolist(), density, scale)
    np.testing.assert_allclose(METHODS["ties"].function(deltas, density=density, scale=scale), expected, atol=1e-12)


@given(TWO, st.floats(0, 1))
def test_slerp_equals_a_rotation_in_the_plane(deltas: np.ndarray, t: float) -> None:
    merged = METHODS["slerp"].function(deltas, t=t)
    first, second = deltas
    lengths = np.linalg.norm(deltas, axis=1)
    sine = 0.0
    if lengths.min() > 0:
        units = deltas / lengths[:, None]
        sine = math.sin(2 * math.atan2(np.linalg.norm(units[0] - units[1]), np.linalg.norm(units[0] + units[1])))
    if sine > 1e-3:
        np.testing.assert_allclose(merged, naive_slerp(first.tolist(), second.tolist(), t), rtol=1e-7, atol=1e-9)
    elif sine < 1e-9:
        np.testing.assert_allclose(merged, (1 - t) * first + t * second, atol=1e-9)


def test_slerp_keeps_the_length_of_equally_long_vectors() -> None:
    merged = METHODS["slerp"].function(np.array([[3.0, 0.0], [0.0, 3.0]]), t=0.5)
    np.testing.assert_allclose(merged, [3 / math.sqrt(2)] * 2)


@given(DELTAS, st.floats(0.01, 1), st.integers(0, 2**32))
def test_dare_equals_the_naive_loop(deltas: np.ndarray, density: float, seed: int) -> None:
    draws = np.random.default_rng(seed).random(deltas.size).tolist()  # task after task, element after element
    expected = [0.0] * deltas.shape[1]
    for task, delta in enumerate(deltas.tolist()):
        for i, x in enumerate(delta):
            if draws[task * len(delta) + i] < density:
                expected[i] += x / density / len(deltas)
    np.testing.assert_allclose(METHODS["dare"].function(deltas, density=density, seed=seed), expected, atol=1e-12)


def test_dare_is_the_mean_in_expectation() -> None:
    deltas = np.random.default_rng(0).standard_normal((3, 50))
    merged = np.mean([METHODS["dare"].function(deltas, density=0.3, seed=s) for s in range(4000)], axis=0)
    np.testing.assert_allclose(merged, deltas.mean(axis=0), atol=0.15)


@given(DELTAS, st.randoms(use_true_random=False))
def test_fisher_equals_the_naive_loop(deltas: np.ndarray, chance: random.Random) -> None:
    scales = [10 ** chance.uniform(-9, 9) for _ in deltas]  # as losses of different kinds have them
    weights = [[chance.choice([0.0, scale * chance.random()]) for _ in deltas[0]] for scale in scales]
    lengths = [math.sqrt(sum(x * x for x in row)) or 1 for row in weights]
    expected = []
    for i in range(deltas.shape[1]):
        of_one_length = [row[i] / length for row, length in zip(weights, lengths, strict=True)]
        total = sum(of_one_length)
        column = deltas[:, i].tolist()
        shares = [x / total if total else 1 / len(column) for x in of_one_length]
        expected.append(sum(share * x for share, x in zip(shares, column, strict=True)))
    np.testing.assert_allclose(METHODS["fisher"].function(deltas, np.array(weights)), expected, atol=1e-9)


def test_a_task_does_not_outweigh_another_by_the_scale_of_its_loss() -> None:
    deltas, fisher = np.random.default_rng(0).random((2, 2, 50))
    fisher[1] *= 400  # a squared error on labels from 0 to 5 beside a cross-entropy
    shares = METHODS["fisher"].function(np.array([np.zeros(50), np.ones(50)]), fisher)
    assert 0.4 < shares.mean() < 0.6
    for factor in (1e-6, 1e6):
        scaled = METHODS["fisher"].function(deltas, fisher * [[factor], [1]])
        np.testing.assert_allclose(scaled, METHODS["fisher"].function(deltas, fisher), rtol=1e-12)


@given(DELTAS, st.floats(0, 4), st.data())
def test_linear_methods(deltas: np.ndarray, scale: float, data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.floats(0.1, 5), min_size=len(deltas), max_size=len(deltas)))
    columns = deltas.T.tolist()
    for name, options, expected in (
        ("mean", {}, [sum(column) / len(column) for column in columns]),
        ("task_arithmetic", {"scale": scale}, [scale * sum(column) for column in columns]),
        (
            "weighted",
            {"weights": weights},
            [sum(w * x for w, x in zip(weights, c, strict=True)) / sum(weights) for c in columns],
        ),
    ):
        np.testing.assert_allclose(METHODS[name].function(deltas, **options), expected, atol=1e-12)


def test_parameters_take_texts_from_a_command_line() -> None:
    sources = [example(1), example(2)]
    np.testing.assert_array_equal(
        merge(sources, "weighted", weights="1,3").post(*V),
        merge(sources, "weighted", weights=[1, 3]).post(*V),
    )
    assert Parameter("seed", 0, "").parse("7", 2) == 7
    for method in METHODS.values():
        assert method.label and method.formula and method.reference.startswith("https://")
        assert all(parameter.help and parameter.expected for parameter in method.parameters)


def _deltas(snapshot: Snapshot) -> np.ndarray:
    return np.concatenate(
        [(snapshot.post(*key).astype(float) - snapshot.pre(*key)).ravel() for key in snapshot.keys()]  # noqa: SIM118
    )


def test_scope_decides_what_is_trimmed_together() -> None:
    sources = [example(seed) for seed in (1, 2)]
    for scope, size in (("layer", WIDTH), ("global", 3 * LAYERS * WIDTH)):
        merged = _deltas(merge(sources, "ties", density=0.25, scope=scope)).reshape(-1, size)
        rows = [_deltas(s).reshape(-1, size) for s in sources]
        for n, row in enumerate(merged):
            np.testing.assert_allclose(row, naive_ties([r[n].tolist() for r in rows], 0.25, 1.0), atol=1e-6)
