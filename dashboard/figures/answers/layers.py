"""Which layer's bias made a shift: one small panel of bars for each fine-tune."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboard.figures.parts import style
from dashboard.figures.parts.drawing import Drawing, grid
from dashboard.figures.parts.labels import in_figures

TOGETHER = "rest"
"""Name of the bar of what layers do together."""
PANEL_PIXELS = 190


@dataclass(frozen=True)
class Apart:
    """Shift of one fine-tune, taken apart."""

    name: str
    layers: Mapping[int, float]
    """Change of the margin by each layer."""
    rest: float
    """What they do together."""
    colour: str


def by_layer(parts: Sequence[Apart], what: str, columns: int = 2, dark: bool = False) -> go.Figure:
    """Draw the change that each layer makes, and the rest, on one scale for all fine-tunes.

    ``what``: unit of the bars; ``columns``: panels beside each other.
    """
    columns = max(1, min(columns, len(parts)))
    rows = math.ceil(len(parts) / columns)
    titles = [f"<b>{in_figures(part.name, 40)}</b>" for part in parts]
    drawing = Drawing.of_panels(titles, grid(len(parts), columns, 0.05, min(0.32, 0.62 / rows)))
    values = [value for part in parts for value in (*part.layers.values(), part.rest)]
    low, high = min(0.0, *values), max(0.0, *values)
    room = 0.12 * (high - low or 1.0)
    for panel, part in enumerate(parts, 1):
        drawing.trace(
            "bar",
            panel,
            x=[*map(str, part.layers), TOGETHER],
            y=[*part.layers.values(), part.rest],
            marker={
                "color": [*[part.colour] * len(part.layers), "rgba(0,0,0,0)"],
                "line": {"color": part.colour, "width": [*[0] * len(part.layers), 1.5]},
            },
            hovertemplate=[
                *[f"layer {layer}: %{{y:+.3f}}<extra></extra>" for layer in part.layers],
                "what the layers do together: %{y:+.3f}<extra></extra>",
            ],
        )
        if panel == drawing.first_of_row(panel):
            drawing.axis("y", panel, title={"text": what, "standoff": 4, "font": {"size": 12}})
    drawing.axes("x", type="category", fixedrange=True, tickfont={"size": 11}, showgrid=False)
    drawing.axes("y", range=[low - room, high + room], fixedrange=True, nticks=5)
    drawing.axes("y", zeroline=True, zerolinecolor=style.ink(dark), zerolinewidth=1)
    return drawing.figure(dark, height=PANEL_PIXELS * rows + 20, margin={"t": 28}, bargap=0.25)
