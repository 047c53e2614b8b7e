"""Pictures of a model card as SVG that stands alone: no style sheet, no script, no font of its own, drawn from numbers.

A page that shows them as images reads no style of its own into them, so every colour is said where it is used, and the
background is white on dark pages too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

LOW, HIGH = (247, 251, 255), (8, 48, 107)
"""Colours, red, green and blue, of the lowest and the highest score."""
CELL, ROW, LEFT, TOP, FOOT = 40, 28, 78, 46, 26
"""Pixels: width and height of a cell, room for the names of terms, for the title and for what a colour means."""
_FONT = 'font-family="sans-serif" font-size="11"'


def score_map(title: str, rows: Mapping[str, Sequence[float]]) -> Markup:
    """Draw a map of scores, a row for each term, a column for each layer, the number in each cell.

    Args:
        title: a sentence, which is the picture's name for who does not see it.
        rows: name of a term -> its score in each layer, all of one length. Scores are at least 0.
    """
    layers = max(map(len, rows.values()))
    most = max((score for row in rows.values() for score in row if math.isfinite(score)), default=0.0) or 1.0
    parts = [f'<text x="{LEFT}" y="38" fill="#444" {_FONT}>layer</text>']
    parts += [
        f'<text x="{LEFT + CELL * (at + 0.5):.0f}" y="{TOP + ROW * len(rows) + 16}" text-anchor="middle" fill="#444" '
        f"{_FONT}>{at}</text>"
        for at in range(layers)
    ]
    for line, (name, row) in enumerate(rows.items()):
        y = TOP + ROW * line
        parts.append(f'<text x="{LEFT - 8}" y="{y + 19}" text-anchor="end" fill="#000" {_FONT}>{escape(name)}</text>')
        for at, score in enumerate(row):
            share = min(max(score / most, 0.0), 1.0) if math.isfinite(score) else 0.0
            red, green, blue = (round(low + (high - low) * share) for low, high in zip(LOW, HIGH, strict=True))
            x = LEFT + CELL * at
            parts.append(
                f'<rect x="{x}" y="{y}" width="{CELL - 2}" height="{ROW - 2}" fill="#{red:02x}{green:02x}{blue:02x}"/>'
                f'<text x="{x + CELL / 2 - 1:.0f}" y="{y + 18}" text-anchor="middle" '
                f'fill="{"#fff" if share > 0.5 else "#000"}" {_FONT}>{escape(short(score))}</text>'
            )
    return _picture(title, LEFT + CELL * layers + 16, TOP + ROW * len(rows) + FOOT, parts)


def epochs(title: str, values: Sequence[float], constant: float | None) -> Markup:
    """Draw a metric over epochs, from epoch 1 on; ``constant``: that of a constant answer, a dashed line; None: not
    known.
    """
    width, height, left, right, top, bottom = 420, 210, 52, 16, 46, 34
    known = [*values, *([] if constant is None else [constant])]
    low, high = min(known), max(known)
    pad = (high - low) * 0.1 or 0.05
    low, high = low - pad, high + pad

    def x(at: int) -> float:
        return left + (width - left - right) * (at / max(len(values) - 1, 1) if len(values) > 1 else 0.5)

    def y(value: float) -> float:
        return height - bottom - (height - top - bottom) * (value - low) / (high - low)

    parts = [f'<line x1="{left}" x2="{left}" y1="{top}" y2="{height - bottom}" stroke="#888"/>']
    for mark in (low + pad, high - pad):
        parts.append(f'<text x="{left - 6}" y="{y(mark) + 4:.1f}" text-anchor="end" {_FONT}>{short(mark)}</text>')
    for at in sorted({0, len(values) - 1}):
        parts.append(
            f'<text x="{x(at):.1f}" y="{height - bottom + 16}" text-anchor="middle" {_FONT}>epoch {at + 1}</text>'
        )
    if constant is not None:
        parts.append(
            f'<line x1="{left}" x2="{width - right}" y1="{y(constant):.1f}" y2="{y(constant):.1f}" stroke="#b35900" '
            f'stroke-dasharray="5 4"/><text x="{width - right}" y="{y(constant) - 4:.1f}" text-anchor="end" '
            f'fill="#b35900" {_FONT}>constant answer</text>'
        )
    points = [(x(at), y(value)) for at, value in enumerate(values)]
    path = " ".join(f"{one:.1f},{other:.1f}" for one, other in points)
    parts.append(f'<polyline points="{path}" fill="none" stroke="#08306b" stroke-width="2"/>')
    parts += [f'<circle cx="{one:.1f}" cy="{other:.1f}" r="3" fill="#08306b"/>' for one, other in points]
    return _picture(title, width, height, parts)


def short(value: float) -> str:
    """Write a number in the room of a cell: 0.56, 12.3, 123, 1e+06, 2e-04; a dash where there is none."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size == 0:
        return "0"
    if size < 0.005 or size >= 99999.5:
        return f"{value:.0e}"
    return f"{value:.2f}" if size < 9.995 else f"{value:.1f}" if size < 99.95 else f"{value:.0f}"


def _picture(title: str, width: int, height: int, parts: Sequence[str]) -> Markup:
    """Put the parts, whose texts are escaped, on a white ground under a title, for which there is room."""
    width = max(width, 24 + 7 * len(title))
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img"><title>{escape(title)}</title><rect width="{width}" height="{height}" fill="#fff"/>'
        f'<text x="12" y="20" font-weight="bold" {_FONT}>{escape(title)}</text>{"".join(parts)}</svg>\n'
    )
