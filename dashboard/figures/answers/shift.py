"""Answers of several fine-tunes to one example: from what the head alone says to what it says with the biases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboard.figures.parts import style
from dashboard.figures.parts.drawing import Drawing
from dashboard.figures.parts.labels import in_figures

ROW_PIXELS = 46


@dataclass(frozen=True)
class Shifted:
    """Answer of one fine-tune as a row of the figure."""

    name: str
    before: float
    """Number under the biases that it is compared with: a probability, or a value."""
    after: float
    colour: str


def shifts(rows: Sequence[Shifted], scale: tuple[float, float], what: str, dark: bool = False) -> go.Figure:
    """Draw one row for each fine-tune: a ring where it would be without its change, a dot where it is, joined.

    ``scale``: ends of the axis; ``what``: its title, escaped here.
    """
    drawing = Drawing()
    names = [in_figures(row.name, 44) for row in rows]
    for at, row in enumerate(rows):
        drawing.trace(
            "scatter",
            x=[row.before, row.after],
            y=[at, at],
            mode="lines",
            line={"color": row.colour, "width": 4},
            opacity=0.45,
            hoverinfo="skip",
        )
    for end, symbol, words in (("before", "circle-open", "compared with"), ("after", "circle", "with its biases")):
        drawing.trace(
            "scatter",
            x=[getattr(row, end) for row in rows],
            y=list(range(len(rows))),
            mode="markers",
            marker={"symbol": symbol, "size": 14, "color": [row.colour for row in rows], "line": {"width": 2.5}},
            customdata=names,
            hovertemplate="%{customdata}<br>" + words + ": %{x:.3f}<extra></extra>",
            cliponaxis=False,
        )
    room = 0.06 * (scale[1] - scale[0])
    for at, row in enumerate(rows):
        right = row.after >= row.before
        drawing.words(
            f"<b>{row.after:.2f}</b>",
            x=row.after,
            y=at,
            xanchor="left" if right else "right",
            xshift=11 if right else -11,
            font={"color": style.readable(row.colour, dark)},
            name="after",
        )
    drawing.axis(
        "x",
        range=[scale[0] - room, scale[1] + 1.5 * room],
        fixedrange=True,
        title={"text": in_figures(what, 80), "standoff": 6, "font": {"size": 12}},
    )
    drawing.axis(
        "y",
        range=[len(rows) - 0.5, -0.5],
        fixedrange=True,
        tickvals=list(range(len(rows))),
        ticktext=names,
        showgrid=False,
    )
    return drawing.figure(dark, height=58 + ROW_PIXELS * len(rows))
