"""Numbers as text, round numbers along an axis, and places for labels: one place for all pages and figures.

``numbers.js`` is the same for pictures that the browser draws; a test holds the two together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

_K = TypeVar("_K")
NUMBERS_JS = Path(__file__).with_suffix(".js")


def short(value: float, digits: int = 3) -> str:
    """Write significant digits in as few characters as possible: 0.692, 45.3, 453, 1.2e-05, 3.1e+04."""
    size = abs(value)
    if size and (size < 1e-4 or size >= 1e5):
        return f"{value:.1e}"
    return f"{value:.0f}" if size >= 100 else f"{value:.{digits}g}"


def shortest(value: float) -> str:
    """Write two significant digits, as they fit into a cell of a heatmap: 0.58, 11, 4.3e-4, 1.1e-18."""
    return f"{value:.1e}".replace("e-0", "e-") if 0 < abs(value) < 0.01 else short(value, 2)


def one_minus(text: str, around: str = "{}") -> str:
    """Write ``1-x`` for a formula of LaTeX, ``1+x`` where the text of x begins with a minus.

    ``around``: what x stands in, such as the numerator of a fraction; ``{}`` is where its size goes.
    """
    sign, size = ("+", text[1:]) if text[0] in "-−" else ("-", text)
    return f"1{sign}{around.replace('{}', size)}"


def without_nan(values: np.ndarray) -> list[Any]:
    """Convert numbers to nested lists in which None stands for what is not finite: JSON in browsers has no NaN."""
    found: list[Any] = np.where(np.isfinite(values), values, np.array(None, dtype=object)).tolist()
    return found


def ticks(low: float, high: float, most: int) -> list[float]:
    """Choose round numbers from `low` to `high`, about `most` of them: multiples of 1, 2 or 5 times a power of ten."""
    step = _step(low, high, most)
    first = math.ceil(low / step - 1e-9)
    return [at * step for at in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_texts(values: Sequence[float]) -> list[str]:
    """Write the numbers of :func:`ticks`, all with as many decimals as neighbours need to differ."""
    if len(values) < 2:
        return [short(value) for value in values]
    step, largest = abs(values[1] - values[0]), max(map(abs, values))
    place = math.floor(math.log10(step) + 1e-9)
    if largest >= 1e5 or largest < 1e-4:
        digits = max(0, math.floor(math.log10(largest) + 1e-9) - place)
        return [f"{value:.{digits}e}" if abs(value) > step / 2 else "0" for value in values]
    return [f"{value:.{max(0, -place)}f}" if abs(value) > step / 2 else "0" for value in values]


def _step(low: float, high: float, most: int) -> float:
    rough = (high - low) / most or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))


def apart(values: Mapping[_K, float], least: float, low: float = -math.inf, high: float = math.inf) -> dict[_K, float]:
    """Place labels: at least `least` between neighbours, inside `low` to `high` where they fit, and otherwise as
    near to their values as can be (least squares).

    Labels that would touch move together, up and down alike, so that their middle stays where their values are: with
    the room between them taken off, this is an isotonic regression, solved by pooling neighbours.
    """
    order = sorted(values, key=values.__getitem__)
    pools: list[tuple[float, int]] = []  # (mean without the room, labels in it), ascending
    for at, key in enumerate(order):
        mean, count = values[key] - at * least, 1
        while pools and pools[-1][0] > mean:
            before, others = pools.pop()
            mean, count = (before * others + mean * count) / (others + count), others + count
        pools.append((mean, count))
    bound = max(low, high - (len(order) - 1) * least)
    means = [min(max(mean, low), bound) for mean, count in pools for _ in range(count)]
    return {key: mean + at * least for at, (key, mean) in enumerate(zip(order, means, strict=True))}
