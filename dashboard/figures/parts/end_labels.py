"""Names at the ends of lines: each on its own line, drawn beside its end, joined to it where it had to give way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from dashboard.figures.parts.numbers import apart

LINE_PIXELS = 17
"""Least distance in pixels from a name to the next."""
_BESIDE, _NEAR = 15, 3


@dataclass(frozen=True)
class End:
    """End of a line: its last point and what to write there."""

    x: float
    y: float
    text: str
    colour: str


def name_ends(
    figure: go.Figure,
    ends: Sequence[End],
    span: tuple[float, float],
    pixels: float,
    *,
    left: bool = False,
    size: int = 14,
    place: Mapping[str, int] | None = None,
) -> None:
    """Write the names of lines beside their last points, right of them or `left`.

    ``span``: the y axis from its bottom to its top; ``pixels``: its height on the screen, about; ``place``: row and col
    of a subplot.
    Where ends lie closer than the names are tall, these give way up and down, and a thin line joins each to its end.
    """
    if not ends:
        return
    heights = {at: pixels * (end.y - span[0]) / (span[1] - span[0]) for at, end in enumerate(ends)}
    places = apart(heights, LINE_PIXELS, 0, pixels)
    side = -1 if left else 1
    for at, end in enumerate(ends):
        down = heights[at] - places[at]
        look: dict[str, Any] = (
            {"showarrow": False, "xshift": side * _BESIDE / 2, "yshift": -down}
            if abs(down) < _NEAR
            else {
                "showarrow": True,
                "ax": side * _BESIDE,
                "ay": down,
                "arrowhead": 0,
                "arrowwidth": 1,
                "arrowcolor": end.colour,
                "standoff": 4,
            }
        )
        figure.add_annotation(
            x=end.x,
            y=end.y,
            text=end.text,
            xanchor="right" if left else "left",
            name="end",
            font={"color": end.colour, "size": size},
            **look,
            **(place or {}),
        )
