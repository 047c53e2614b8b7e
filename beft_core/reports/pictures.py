"""Pictures of a report as SVG, drawn from numbers: sparklines, and lines over data regimes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape


def sparkline(values: Sequence[float], low: float, high: float, term: str = "") -> Markup:
    """Draw a line of a few numbers between two bounds that all lines of a row share."""
    width, height = 88, 26
    points = [
        (_between(at, 0, max(len(values) - 1, 1), 4, width - 4), _between(value, low, high, height - 4, 4))
        for at, value in enumerate(values)
        if math.isfinite(value)
    ]
    words = ", ".join(f"{value:.1f}" for value in values if math.isfinite(value))
    return Markup(
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="{words}">'
        f"{_line(points, term)}</svg>"
    )


def chart(
    title: str, steps: Sequence[str], lines: Mapping[str, Sequence[tuple[float, float, float]]], ranks: int
) -> Markup:
    """Draw lines over regimes: term -> (value, least, largest) for each step (NaN: none). ``ranks``: the lowest rank,
    with 1 on top; 0: a metric in percent.
    """
    width, height, left, right, top, bottom = 172, 150, 26, 18, 8, 20
    finite = [edge for line in lines.values() for point in line for edge in point if math.isfinite(edge)]
    if not finite:
        return Markup()
    low, high = (float(ranks), 1.0) if ranks else (min(finite) - 1, max(finite) + 1)
    marks = [1, ranks // 2, ranks] if ranks else [round(low + 1), round((low + high) / 2), round(high - 1)]
    parts = []
    for mark in dict.fromkeys(marks):
        y = _between(mark, low, high, height - bottom, top)
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 4}" y="{y + 3:.1f}" text-anchor="end">{mark}</text>')
    spread = [_between(at, -0.5, len(steps) - 0.5, left, width - right) for at in range(len(steps))]
    for x, name in zip(spread, steps, strict=True):
        parts.append(f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">{escape(name)}</text>')
    for at, (term, line) in enumerate(lines.items()):
        shift = 3 * (at - (len(lines) - 1) / 2)  # lines on the same rank stay apart
        points = [
            (x + shift, *(_between(edge, low, high, height - bottom, top) for edge in point))
            for x, point in zip(spread, line, strict=True)
            if all(map(math.isfinite, point))
        ]
        parts += [
            f'<line class="bar {term}" x1="{x:.1f}" x2="{x:.1f}" y1="{one:.1f}" y2="{other:.1f}" stroke-width="3"/>'
            for x, _, one, other in points
        ]
        parts.append(_line([(x, y) for x, y, _, _ in points], term))
        if points:
            x, y = points[-1][:2]
            parts.append(f'<text class="{term}" x="{x + 7:.1f}" y="{y + 3:.1f}">{escape(term)}</text>')
    return Markup(
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg></figure>'
    )


def _line(points: Sequence[tuple[float, float]], term: str) -> str:
    dots = "".join(f'<circle{_class(term)} cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in points)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline{_class(term)} points="{path}"/>{dots}'


def _between(value: float, low: float, high: float, start: float, end: float) -> float:
    """Map a value of the range low to high to a position from start to end."""
    return start + (end - start) * ((value - low) / (high - low) if high != low else 0.5)


def _class(name: str) -> str:
    return f' class="{escape(name)}"' if name else ""
