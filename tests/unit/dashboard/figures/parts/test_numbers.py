"""Numbers as text, round numbers along an axis, and labels that give way to each other."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from scipy.optimize import minimize

from dashboard.figures.parts.numbers import apart, one_minus, short, shortest, tick_texts, ticks, without_nan


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.69249, "0.692"),
        (45.26, "45.3"),
        (452.7, "453"),
        (1.234e-5, "1.2e-05"),
        (310000.0, "3.1e+05"),
        (-0.0224, "-0.0224"),
        (99.96, "100"),
    ],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(4.31e-4, "4.3e-4"), (1.08e-18, "1.1e-18"), (0.577, "0.58"), (0.0, "0"), (11.3, "11")]
)
def test_a_cell_of_a_heatmap_keeps_two_digits(value: float, text: str) -> None:
    """A mean of Fisher was rounded to one: 4e-4 stood for 0.00035 to 0.00045."""
    assert shortest(value) == text


def test_one_minus_a_negative_number_is_a_sum() -> None:
    assert one_minus("0.309") == "1-0.309"
    assert one_minus("-0.022") == "1+0.022"
    assert one_minus("-0.02", r"\frac{{}}{0.5}") == r"1+\frac{0.02}{0.5}"


@pytest.mark.parametrize(
    ("low", "high"), [(0.7488, 0.7504), (0, 1), (-0.3, 0.02), (0, 114), (3e-7, 9e-7), (0, 3e6), (0.496, 0.5), (99, 101)]
)
def test_ticks_are_round_and_their_texts_say_exactly_where_they_are(low: float, high: float) -> None:
    """Ticks at 0.75, 0.7495 and 0.749 once read 0.75, 0.75 and 0.749."""
    values = ticks(low, high, 4)
    texts = tick_texts(values)
    step = values[1] - values[0]
    assert 2 <= len(values) <= 6 and np.allclose(np.diff(values), step)
    assert np.allclose([float(text) for text in texts], values, rtol=0, atol=1e-6 * step)
    assert len(set(texts)) == len(texts)
    assert low - 1e-9 * step <= values[0] <= low + step and high - step <= values[-1] <= high + 1e-9 * step


def test_ticks_of_one_kind_have_one_form() -> None:
    assert tick_texts(ticks(0.7488, 0.7504, 4)) == ["0.7490", "0.7495", "0.7500"]
    assert tick_texts(ticks(0, 114, 5)) == ["0", "50", "100"]


@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), (0.0, 1.0)])
@pytest.mark.parametrize("seed", range(4))
def test_labels_give_way_as_little_as_they_can(seed: int, bounds: tuple[float, float]) -> None:
    values = dict(zip("qkvompn", np.random.default_rng(seed).uniform(0, 0.6, 7), strict=True))
    placed = apart(values, 0.1, *bounds)
    order = sorted(values, key=values.__getitem__)
    start = np.array([values[key] for key in order])
    best = minimize(  # an independent answer to the same question
        lambda at: ((at - start) ** 2).sum(),
        np.linspace(0.1, 0.8, 7),
        jac=lambda at: 2 * (at - start),
        method="SLSQP",
        bounds=[bounds] * 7,
        constraints=[{"type": "ineq", "fun": lambda at, i=i: at[i + 1] - at[i] - 0.1} for i in range(6)],
    ).x
    assert np.allclose([placed[key] for key in order], best, atol=1e-3)


def test_labels_that_have_room_stay_on_their_lines() -> None:
    assert apart({"q": 0.1, "v": 0.5, "k": 0.3}, 0.1) == {"q": 0.1, "v": 0.5, "k": 0.3}
    both = apart({"q": 0.4, "v": 0.4}, 0.1)
    assert both == pytest.approx({"q": 0.35, "v": 0.45})  # up and down alike: it used to be up only


def test_labels_stay_inside_and_in_order() -> None:
    placed = apart({key: 0.001 * at for at, key in enumerate("qkvo")}, 0.1, 0.0, 1.0)
    assert list(placed.values()) == pytest.approx([0, 0.1, 0.2, 0.3])
    for one, other in itertools.pairwise(placed.values()):
        assert other > one


def test_browsers_can_read_what_is_not_finite() -> None:
    values = np.array([[1.5, np.nan], [-np.inf, 0.0]])
    assert json.loads(json.dumps(without_nan(values), allow_nan=False)) == [[1.5, None], [None, 0.0]]
    assert without_nan(values[0]) == [1.5, None]
    assert without_nan(np.float32([0.1, np.inf])) == [float(np.float32(0.1)), None]
