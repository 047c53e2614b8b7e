"""Marks of figures that Plotly has no call for: arrows and bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import plotly.graph_objects as go


def draw_arrow(
    figure: go.Figure,
    tail: Sequence[float] | np.ndarray,
    tip: Sequence[float] | np.ndarray,
    colour: str,
    name: str = "arrow",
) -> None:
    """Draw an arrow from a point to another, both (x, y) in the units of the axes."""
    figure.add_annotation(
        x=tip[0],
        y=tip[1],
        ax=tail[0],
        ay=tail[1],
        xref="x",
        yref="y",
        axref="x",
        ayref="y",
        text="",
        showarrow=True,
        arrowhead=2,
        arrowsize=1.1,
        arrowwidth=3,
        arrowcolor=colour,
        name=name,
    )


def draw_band(
    figure: go.Figure,
    xs: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    colour: str,
    place: Mapping[str, int],
) -> None:
    """Fill the area between ``low`` and ``high`` over ``xs``; ``place``: row and col of a subplot."""
    figure.add_scatter(**band(xs, low, high, colour), **place)


def band(xs: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str) -> dict[str, Any]:
    """Describe the filled area between ``low`` and ``high`` over ``xs``, as a scatter trace."""
    return {
        "x": [*xs, *reversed(xs)],
        "y": [*low, *reversed(high)],
        "fill": "toself",
        "mode": "none",
        "fillcolor": colour,
        "opacity": 0.17,
        "hoverinfo": "skip",
        "name": "band",
        "showlegend": False,
    }
