"""Effects of a change of one bias: attention before and after, sizes of changes over many decades, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.figures.parts import style
from dashboard.figures.parts.drawing import Box, Drawing, grid
from dashboard.figures.parts.labels import in_figures
from dashboard.figures.parts.numbers import short

LOST, GAINED = style.DIVERGING
"""Colours of attention that went away and that came."""
EPSILON: dict[str, float] = {"float64": 2.0**-52, "float32": 2.0**-23}
"""Distance from 1 to the next number in each precision: what rounding alone does to numbers of about 1."""
MARKS: dict[str, str] = {"float64": "circle", "float32": "diamond-open"}
DECADES = range(-18, 5, 3)
ZERO = 1e-19
"""Place of an exact zero on a logarithmic axis."""


def maps(before: np.ndarray, after: np.ndarray, tokens: Sequence[str], dark: bool = False) -> go.Figure:
    """Draw attention [queries, keys] before and after, and the difference on a scale of its own."""
    titles = ["<b>Before</b>", "<b>After</b>", "<b>After − before</b>"]
    drawing = Drawing.of_panels(titles, grid(3, 3, 0.03), title_size=15)
    difference = after - before
    most = float(np.abs(difference).max())
    reach = 1.001 * most or 1.0  # a tick at the very end of a scale is not drawn
    names = [in_figures(token) for token in tokens]  # plotly reads a little HTML, and tokens are a visitor's text
    hover = [[f"from <b>{a}</b> to <b>{b}</b>" for b in names] for a in names]
    for panel, (values, axis) in enumerate(
        ((before, "coloraxis"), (after, "coloraxis"), (difference, "coloraxis2")), 1
    ):
        drawing.trace(
            "heatmap",
            panel,
            z=values.round(6).tolist(),
            coloraxis=axis,
            customdata=hover,
            xgap=1,
            ygap=1,
            hovertemplate="%{customdata}: %{z:.4f}<extra></extra>",
        )
    if not most:
        middle = (len(tokens) - 1) / 2
        drawing.words("<b>no change</b>", 3, x=middle, y=middle, font={"size": 15}, name="no change")
    ticks = {"tickvals": list(range(len(names))), "ticktext": names, "tickfont": {"size": 11 if len(names) < 18 else 9}}
    drawing.axes("x", tickangle=-90, showgrid=False, fixedrange=True, constrain="domain", **ticks)
    drawing.axes("y", autorange="reversed", showgrid=False, fixedrange=True, constrain="domain", **ticks)
    drawing.axes("x", title={"text": "looked at (key)", "standoff": 4, "font": {"size": 12}})
    drawing.axis("y", title={"text": "looking (query)", "standoff": 4, "font": {"size": 12}})
    bar: dict[str, Any] = {"orientation": "h", "y": 1.13, "yanchor": "bottom", "thickness": 8, "outlinewidth": 0}
    return drawing.figure(
        dark,
        height=430 if len(tokens) < 18 else 520,
        margin={"t": 92},
        coloraxis={
            "colorscale": style.SCALE,
            "cmin": 0,
            "cmax": float(max(before.max(), after.max())),
            "colorbar": {**bar, "x": 0.325, "len": 0.4, "nticks": 5},
        },
        coloraxis2={
            "colorscale": [[0, LOST], [0.5, style.void(dark)], [1, GAINED]],
            "cmin": -reach,
            "cmax": reach,
            "colorbar": {
                **bar,
                "x": 0.84,
                "len": 0.22,
                "tickvals": [-most, 0, most] if most else [0],
                "ticktext": [f"−{most:.2g}", "0", f"+{most:.2g}"] if most else ["0"],
            },
        },
    )


PUSH = (Box((0.0, 0.475), (0.422, 1.0)), Box((0.525, 1.0), (0.422, 1.0)), Box(y=(0.0, 0.272)))
"""Panels of :func:`push`: attention before and after, below them the logits."""
CLASSES = ("class A", "class B")
"""Names of the classes whose logits are shown: of a head that nobody trained."""


def span(logits: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Find the range of an axis that has all logits, so that figures beside each other can be compared."""
    low, high = min(map(min, logits)), max(map(max, logits))
    room = 0.12 * (high - low) or 1.0
    return low - room, high + room


def push(
    maps_: tuple[np.ndarray, np.ndarray],
    tokens: Sequence[str],
    logits: tuple[Sequence[float], Sequence[float]],
    range_: tuple[float, float],
    term: str,
    dark: bool = False,
) -> go.Figure:
    """Draw what a push does: attention [queries, keys] before and after, below it the logit of each class.

    ``maps_`` and ``logits``: before, after; ``range_``: of the axis of logits (:func:`span`). Before is a ring, after a
    dot: what stays is a dot in its ring.
    """
    names = [in_figures(token) for token in tokens]
    hover = [[f"from <b>{a}</b> to <b>{b}</b>" for b in names] for a in names]
    titles = ["attention before", "after", "output: logits, ○ before, ● after"]
    drawing = Drawing.of_panels(titles, PUSH, shared=False)
    for panel, values in enumerate(maps_, 1):
        drawing.trace(
            "heatmap",
            panel,
            z=np.sqrt(values).tolist(),  # or one token that all look at would leave the rest dark
            text=[
                [f"{label}: {value:.4f}" for label, value in zip(*row, strict=True)]
                for row in zip(hover, values, strict=True)
            ],
            coloraxis="coloraxis",
            hovertemplate="%{text}<extra></extra>",
        )
    for at, (before, after) in enumerate(zip(*logits, strict=True)):
        look = {"line": {"color": style.TERM_COLOURS[term], "width": 3}, "hoverinfo": "skip", "name": "way"}
        drawing.trace("scatter", 3, x=[before, after], y=[at, at], mode="lines", **look)
    marks: tuple[tuple[str, Sequence[float], dict[str, Any]], ...] = (
        ("before", logits[0], {"symbol": "circle-open", "size": 19, "color": style.ink(dark), "line": {"width": 2}}),
        ("after", logits[1], {"symbol": "circle", "size": 11, "color": style.TERM_COLOURS[term]}),
    )
    for when, of_classes, mark in marks:
        drawing.trace(
            "scatter",
            3,
            x=list(of_classes),
            y=list(range(len(of_classes))),
            mode="markers",
            name=when,
            marker=mark,
            cliponaxis=False,
            hovertemplate=f"%{{y}}, {when}: %{{x:.4f}}<extra></extra>",
        )
    for panel in (1, 2):
        drawing.axis("x", panel, showticklabels=False, showgrid=False, fixedrange=True)
        drawing.axis("y", panel, showticklabels=False, showgrid=False, fixedrange=True, autorange="reversed")
    drawing.axis("x", 3, range=range_, fixedrange=True, nticks=5)
    ticks = {"tickvals": list(range(len(CLASSES))), "ticktext": CLASSES}
    drawing.axis("y", 3, range=[len(CLASSES) - 0.4, -0.6], fixedrange=True, showgrid=False, **ticks)
    return drawing.figure(
        dark,
        height=227,
        margin={"t": 20, "b": 20, "l": 0, "r": 0},
        coloraxis={
            "colorscale": style.SCALE,
            "cmin": 0,
            "cmax": float(np.sqrt(max(values.max() for values in maps_))),
            "showscale": False,
        },
    )


def changes(rows: Mapping[str, Mapping[str, float]], term: str, dark: bool = False) -> go.Figure:
    """Draw the largest changes on a logarithmic axis, with the grain of both precisions.

    ``rows``: words -> precision -> size.
    """
    figure = go.Figure()
    labels = list(rows)
    for precision, mark in MARKS.items():
        sizes = [rows[label][precision] for label in labels]
        figure.add_scatter(
            x=[max(size, ZERO) for size in sizes],
            y=labels,
            mode="markers+text",
            name=precision,
            marker={"symbol": mark, "size": 13, "color": style.TERM_COLOURS[term], "line": {"width": 2.5}},
            text=[_number(size) for size in sizes],
            textposition="top center" if precision == "float64" else "bottom center",
            textfont={"size": 12},
            cliponaxis=False,
            hovertemplate="%{y}: %{text} in " + precision + "<extra></extra>",
        )
    for precision, epsilon in EPSILON.items():
        figure.add_vline(x=epsilon, line={"color": style.ink(dark), "width": 1, "dash": "dot"})
        figure.add_annotation(
            x=np.log10(epsilon),
            y=1,
            yref="paper",
            yanchor="bottom",
            showarrow=False,
            font={"size": 11},
            text=f"rounding in {precision}",
        )
    largest = max(size for sizes in rows.values() for size in sizes.values())
    figure.update_xaxes(
        type="log",
        range=[np.log10(ZERO) - 2.2, max(1.5, np.log10(max(largest, ZERO)) + 0.8)],
        fixedrange=True,
        tickvals=[10.0**e for e in DECADES],
        ticktext=[f"10<sup>{e}</sup>" if e else "1" for e in DECADES],
        title={"text": "largest change", "standoff": 4, "font": {"size": 12}},
    )
    figure.update_yaxes(autorange=False, range=[len(labels) - 0.45, -0.55], fixedrange=True)
    figure.update_layout(
        template=style.template(dark),
        height=62 * len(labels) + 96,
        showlegend=True,
        margin={"t": 52, "r": 24},
        legend={"orientation": "h", "y": 1, "yref": "container", "yanchor": "top", "x": 0, "xref": "container"},
    )
    return figure


def _number(size: float) -> str:
    """Write the size of a change: 0.43, 1.2·10⁻¹⁵, exactly 0."""
    if size == 0:
        return "exactly 0"
    digits, power = f"{size:.1e}".split("e")
    return short(size, 2) if 1e-3 <= size < 1e4 else f"{digits}·10<sup>{int(power)}</sup>"


def by_layer(moved: Mapping[str, Sequence[float]], at: int, dark: bool = False) -> go.Figure:
    """Draw the share of attention that went elsewhere: term -> [layers]; ``at`` is the layer that was changed."""
    figure = go.Figure()
    for term, shares in moved.items():
        figure.add_scatter(
            x=list(range(len(shares))),
            y=list(shares),
            mode="lines+markers",
            name=style.symbol(term),
            line={"color": style.TERM_COLOURS[term], "width": 2.5},
            marker={"size": 8},
            hovertemplate="layer %{x}: %{y:.2%} went elsewhere<extra>" + style.symbol(term) + "</extra>",
        )
    figure.add_vline(x=at, line={"color": style.ink(dark), "width": 1, "dash": "dot"})
    figure.add_annotation(
        x=at, y=1, yref="paper", yanchor="bottom", text="d was added here", showarrow=False, font={"size": 12}
    )
    count = max(len(shares) for shares in moved.values())
    figure.update_xaxes(
        title={"text": "layer", "standoff": 4},
        tickvals=list(range(0, count, max(1, count // 12))),
        fixedrange=True,
        range=[-0.4, count - 0.6],
    )
    top = max(max(shares) for shares in moved.values())
    figure.update_yaxes(
        title={"text": "attention that moved", "standoff": 6},
        tickformat=".0%" if top > 0.03 else ".1%",
        range=[-0.04 * (top or 1), 1.12 * (top or 1)],
        fixedrange=True,
    )
    figure.update_layout(
        template=style.template(dark),
        height=260,
        showlegend=True,
        margin={"t": 28},
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )
    return figure
