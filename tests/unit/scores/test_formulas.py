"""Projection ratio, Magnitude, Fisher and the geometry: against independent forms of the formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from beft_core.errors import UserError
from beft_core.scores.formulas import fisher_score, geometry, magnitude, projection_ratio

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=6)


@st.composite
def pairs(draw: st.DrawFn, dtype: type = np.float64, bound: float = 1e6) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays [layers, width] of the same shape."""
    shape = draw(SHAPES)
    elements = st.floats(-bound, bound, width=32 if dtype is np.float32 else 64, allow_subnormal=False)
    return draw(arrays(dtype, shape, elements=elements)), draw(arrays(dtype, shape, elements=elements))


def by_angle(pre: np.ndarray, post: np.ndarray) -> list[float]:
    """The projection ratio another way: 1 - cos(angle) * min(r, 1/r), in pure Python."""
    scores = []
    for a, b in zip(pre.astype(float).tolist(), post.astype(float).tolist(), strict=True):
        norm_a, norm_b = math.hypot(*a), math.hypot(*b)
        if norm_a == 0 or norm_b == 0:
            scores.append(0.0 if norm_a == norm_b else 1.0)
            continue
        cosine = math.fsum((x / norm_a) * (y / norm_b) for x, y in zip(a, b, strict=True))
        ratio = norm_b / norm_a
        scores.append(1 - cosine * min(ratio, 1 / ratio))
    return scores


@given(pairs())
def test_projection_ratio_equals_its_form_by_angle(pair: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_allclose(projection_ratio(*pair), by_angle(*pair), rtol=0, atol=1e-12)


@given(pairs(np.float32))
def test_float32_is_computed_in_float64(pair: tuple[np.ndarray, np.ndarray]) -> None:
    scores = projection_ratio(*pair)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, by_angle(*pair), rtol=0, atol=1e-12)


@given(pairs())
def test_symmetric_in_pre_and_post(pair: tuple[np.ndarray, np.ndarray]) -> None:
    pre, post = pair
    np.testing.assert_allclose(projection_ratio(pre, post), projection_ratio(post, pre), rtol=0, atol=1e-15)


@given(pairs(bound=1e3), st.integers(-300, 300))
def test_invariant_to_scale_also_far_outside_the_range_of_squares(
    pair: tuple[np.ndarray, np.ndarray], exponent: int
) -> None:
    assume(all(np.abs(x[x != 0]).min(initial=1) > 1e-3 for x in pair))  # or the scaled ones round to zero
    scaled = [x * 10.0**exponent for x in pair]
    np.testing.assert_allclose(projection_ratio(*scaled), projection_ratio(*pair), rtol=0, atol=1e-12)
    np.testing.assert_allclose(geometry(*scaled)["length_ratio"], geometry(*pair)["length_ratio"], rtol=1e-12)


@given(pairs())
def test_bounds_and_the_reversed_flag(pair: tuple[np.ndarray, np.ndarray]) -> None:
    scores, shape = projection_ratio(*pair), geometry(*pair)
    assert ((scores >= -1e-15) & (scores <= 2 + 1e-15)).all()
    assert (scores[shape["reversed"]] >= 1).all() and (scores[~shape["reversed"]] <= 1).all()
    assert ((shape["angle_degrees"] >= 0) & (shape["angle_degrees"] <= 180)).all()
    length = shape["length_ratio"]
    with np.errstate(divide="ignore", over="ignore"):
        shorter = np.minimum(length, 1 / length)
    np.testing.assert_allclose(scores, 1 - shape["cosine"] * shorter, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("pre", "post", "score", "angle", "length"),
    [
        ([3, 4], [3, 4], 0, 0, 1),  # nothing changed: exactly 0
        ([0, 0], [0, 0], 0, 0, 1),
        ([0, 0], [1, 2], 1, 90, math.inf),
        ([1, 2], [0, 0], 1, 90, 0),
        ([1, 0], [0, 5], 1, 90, 5),  # orthogonal
        ([2, 0], [1, 0], 0.5, 0, 0.5),  # shrunk
        ([2, 0], [4, 0], 0.5, 0, 2),  # grown by as much
        ([1, 0], [-1, 0], 2, 180, 1),  # reversed: a value like any other
        ([1, 1], [1, 0], 0.5, 45, math.sqrt(0.5)),
    ],
)
@pytest.mark.parametrize("scale", [1, 1e-30, 1e30, 1e-45, 1e38])
def test_worked_cases_at_any_scale(
    pre: list, post: list, score: float, angle: float, length: float, scale: float
) -> None:
    for dtype in (np.float32, np.float64):
        a, b = (np.sign(x) * np.abs(np.array([x], dtype)) * dtype(scale) for x in (pre, post))
        if dtype is np.float32 and not np.isfinite(a + b).all():
            continue
        assert projection_ratio(a, b)[0] == pytest.approx(score, abs=1e-12 if scale != 1e-45 else 0.2)
        shape = geometry(a, b)
        if scale != 1e-45:
            assert shape["angle_degrees"][0] == pytest.approx(angle, abs=1e-6)
            assert shape["length_ratio"][0] == pytest.approx(length, rel=1e-6)
        assert shape["reversed"][0] == (angle > 90)


def test_extreme_float64_neither_overflows_nor_vanishes() -> None:
    for scale in (1e-308, 5e-324, 1e-200, 1e200, 1e307):
        a = np.array([[1.0, 0.0]]) * scale
        np.testing.assert_array_equal(projection_ratio(a, a), [0])
        np.testing.assert_array_equal(projection_ratio(a, -a), [2])
        np.testing.assert_array_equal(projection_ratio(a, 2 * a), [0.5])
    far = projection_ratio(np.array([[1e-200, 0.0]]), np.array([[1e200, 0.0]]))
    assert far[0] == 1  # to all digits, and without a warning
    assert geometry(np.array([[1e-200, 0.0]]), np.array([[1e200, 0.0]]))["cosine"][0] == 1


@given(pairs(bound=1e3))
def test_magnitudes(pair: tuple[np.ndarray, np.ndarray]) -> None:
    pre, post = pair
    naive = [math.fsum(abs(y - x) for x, y in zip(a, b, strict=True)) for a, b in zip(pre, post, strict=True)]
    np.testing.assert_allclose(magnitude(pre, post), naive, rtol=1e-12)
    np.testing.assert_allclose(magnitude(pre, post, "mean_abs"), [x / pre.shape[1] for x in naive], rtol=1e-12)


@given(arrays(np.float32, SHAPES, elements=st.floats(0, 2.0**100, width=32)))
def test_fisher_sums_or_averages(squared: np.ndarray) -> None:
    sums = [math.fsum(row) for row in squared.astype(float)]
    np.testing.assert_allclose(fisher_score(squared), sums, rtol=1e-12)
    np.testing.assert_allclose(fisher_score(squared, "batch"), np.divide(sums, squared.shape[1]), rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_that_are_not_finite_are_refused(bad: float, dtype: type) -> None:
    good, broken = np.ones((2, 3), dtype), np.ones((2, 3), dtype)
    broken[1, 2] = bad
    for pair in ((good, broken), (broken, good), (broken, broken)):
        for function in (projection_ratio, geometry, magnitude):
            with pytest.raises(UserError, match="layer 1 holds"):
                function(*pair)
    with pytest.raises(UserError, match="layer 1 holds"):
        fisher_score(broken)


def test_shapes_are_checked() -> None:
    for a, b in (((3,), (3,)), ((2, 3), (2, 4)), ((0, 3), (0, 3))):
        with pytest.raises(UserError, match="shapes"):
            projection_ratio(np.ones(a), np.ones(b))
    with pytest.raises(UserError, match="negative"):
        fisher_score(-np.ones((2, 3)))
