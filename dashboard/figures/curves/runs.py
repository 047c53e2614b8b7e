"""Curves of several runs in one figure: a line a run, over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from beft_core.runs.curves import Curve
from dashboard.figures.parts import style
from dashboard.figures.parts.labels import in_figures

MAX_POINTS = 1000
MAX_NAMED = 24
"""Largest number of runs with a legend; names of more are left to the pointer."""
_PLOT_HEIGHT, _LEGEND_ROW = 290, 20
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True)
class Look:
    """Look of a run, the same in every figure of a page."""

    term: str | None
    """Term that the run trains alone, which gives it its colour; None: the colour of the text."""
    dash: str = DASHES[0]
    shade: int = 0
    """Step by which the colour is nearer to that of the page."""

    def colour(self, dark: bool) -> str:
        """Colour of the run's lines."""
        full = style.ink(dark) if self.term is None else style.TERM_COLOURS[self.term]
        return style.shade(full, self.shade, dark)


def looks(terms: Sequence[Sequence[str]]) -> list[Look]:
    """Choose a look for each run, from the bias terms that each trains.

    The colour is that of the one term that a run trains, or of the text where it trains several or none. Runs of one
    colour differ in dashes, then in shades.
    """
    names = [only[0] if len(only) == 1 else None for only in terms]
    before = [names[:at].count(name) for at, name in enumerate(names)]
    return [
        Look(name, DASHES[count % len(DASHES)], count // len(DASHES) % style.SHADES)
        for name, count in zip(names, before, strict=True)
    ]


@dataclass(frozen=True)
class Line:
    """Values of one run, and its name."""

    label: str
    curve: Curve
    look: Look


def overlay(lines: Sequence[Line], what: str, dark: bool = False, *, marks: bool = False) -> go.Figure:
    """Draw a value over the steps of each run, at most :data:`MAX_POINTS` of each; ``marks``: a dot at each value."""
    figure = go.Figure()
    for line in lines:
        x, y = line.curve.thinned(MAX_POINTS)
        figure.add_scatter(
            x=x,
            y=y,
            name=in_figures(line.label),
            mode="lines+markers" if marks else "lines",
            marker={"size": 6},
            line={"color": line.look.colour(dark), "dash": line.look.dash, "width": 2},
            hovertemplate="step %{x}: %{y:.4f}<extra>%{fullData.name}</extra>",
        )
    figure.update_xaxes(title={"text": "step", "standoff": 4}, rangemode="tozero", fixedrange=True)
    figure.update_yaxes(title={"text": in_figures(what), "standoff": 6}, fixedrange=True)
    values = [value for trace in figure.data for value in trace.y if np.isfinite(value)]
    if values and max(values) - min(values) < 0.02:  # a value that stands still is no reason to show -1 to 1
        figure.update_yaxes(range=[min(values) - 0.02, max(values) + 0.02])
    named = len(lines) <= MAX_NAMED
    below = _LEGEND_ROW * len(lines) if named else 0
    figure.update_layout(
        template=style.template(dark),
        height=_PLOT_HEIGHT + below,
        showlegend=named,
        legend={"orientation": "v", "x": 0, "xanchor": "left", "y": -52 / (_PLOT_HEIGHT - 64), "yanchor": "top"},
        margin={"b": below + 56},  # the axis, and the legend below it
    )
    return figure
