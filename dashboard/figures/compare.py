"""Comparison of several snapshots, a shape for each and a colour for each term; and two of them subtracted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from beft_core.scores.approaches import APPROACHES
from beft_core.scores.compare import Alike, Difference
from beft_core.scores.table import ABSENT, ScoreTable, reason_without_score
from beft_core.terms import TERM_KEYS, TERMS
from dashboard.figures.heatmaps import BAR, BELOW, ROW, Columns
from dashboard.figures.parts import style
from dashboard.figures.parts.drawing import Drawing, grid
from dashboard.figures.parts.labels import in_templates
from dashboard.figures.parts.numbers import shortest, without_nan

SHAPES: dict[str, str] = {
    "circle": "●",
    "diamond": "◆",
    "square": "■",
    "triangle-up": "▲",
    "x": "✖",
    "star": "★",
    "hourglass": "⧗",
    "triangle-down": "▼",
}
"""Signs for text of Plotly's shapes, by their names; the first snapshot has the first, and so on."""
LETTERS = "ABCDEFGH"
MAX_COMPARED = len(LETTERS)
"""Number of snapshots that a figure can tell apart: each has a letter, a shape and a dash."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "10px,2px", "2px,6px")

LEGEND, TITLES, PANEL, ACROSS = 34, 44, 200, 4
"""Heights in pixels: the legend, titles of two lines (a narrow window has no room for long ones), a small panel with
its title. Panels in a row.
"""
CLOSE = 19
"""Height in pixels of a row of the overview where that has no legend."""
MAX_CHARACTERS = 80
"""Characters of a snapshot's title under the pointer."""


def shape(number: int) -> str:
    """Sign of a snapshot's shape for text."""
    return list(SHAPES.values())[number]


def overview(
    tables: Sequence[ScoreTable],
    titles: Sequence[str],
    approaches: Sequence[str],
    stack: str,
    dark: bool = False,
    *,
    legend: bool = True,
) -> go.Figure:
    """Draw the mean score of every term (rows) by each approach (panels), with a shape for each snapshot.

    ``legend``: of the shapes; without it, for where it stands nearby, rows are closer too, so that it fits one screen.
    """
    terms = terms_of(tables, stack)
    headings = [f"<b>{APPROACHES[key].label.replace(' ', '<br>', 1)}</b>" for key in approaches]
    drawing = Drawing.of_panels(headings, grid(len(headings), len(headings), 0.03), title_size=15)
    for panel, key in enumerate(approaches, 1):
        reach: dict[str, list[float]] = {term: [] for term in terms}
        for number, table in enumerate(tables):
            here = {t: row for t, row in table.rows(stack).items() if reason_without_score(row, key) is None}
            means = {term: float(row.scores[key].mean()) for term, row in here.items()}
            for term, mean in means.items():
                reach[term].append(mean)
            drawing.trace(
                "scatter",
                panel,
                x=list(means.values()),
                y=[terms.index(term) for term in means],
                mode="markers",
                marker=_marker(number, [style.TERM_COLOURS[term] for term in means], dark, 11),
                customdata=[
                    f"{_named(number, titles[number])}<br>{style.name_in_figures(term)}: <b>{mean:.4g}</b>"
                    for term, mean in means.items()
                ],
                hovertemplate="%{customdata}<extra></extra>",
                showlegend=False,
            )
        for at, term in enumerate(terms):
            if reach[term]:
                drawing.line(
                    (min(reach[term]), at),
                    (max(reach[term]), at),
                    panel,
                    layer="below",
                    line={"color": style.TERM_COLOURS[term], "width": 3},
                    opacity=0.35,
                )
            else:
                why = {reason_without_score(table.rows(stack).get(term), key) for table in tables} - {ABSENT}
                drawing.words(
                    f"<i>{' or '.join(sorted(filter(None, why)))}</i>",
                    panel,
                    x=0,
                    y=at,
                    xanchor="left",
                    xshift=6,
                    font={"size": 12},
                    opacity=0.7,
                    name="reason",
                )
        top = max((max(values) for values in reach.values() if values), default=1.0) or 1.0
        drawing.axis("x", panel, range=[-0.05 * top, 1.08 * top], nticks=4)
    drawing.axes("x", fixedrange=True, rangemode="tozero")
    drawing.axes(
        "y",
        range=[len(terms) - 0.5, -0.5],
        tickvals=list(range(len(terms))),
        ticktext=[style.row_in_figures(term) for term in terms],
        fixedrange=True,
        showgrid=True,
    )
    above = TITLES
    if legend:
        _draw_legend(drawing, len(tables), dark)
        above += LEGEND
    return drawing.figure(dark, height=(ROW if legend else CLOSE) * len(terms) + above + 40, margin={"t": above})


def by_layer(
    tables: Sequence[ScoreTable], titles: Sequence[str], approach: str, stack: str, dark: bool = False
) -> go.Figure:
    """Draw the score of every layer, one small panel per term on one scale, one line per snapshot."""
    terms = [
        term
        for term in terms_of(tables, stack)
        if any(reason_without_score(table.rows(stack).get(term), approach) is None for table in tables)
    ]
    down = -(-len(terms) // ACROSS) or 1
    across = min(ACROSS, len(terms) or 1)
    boxes = grid(len(terms), across, 0.025, min(0.32, 0.64 / down))
    drawing = Drawing.of_panels([*map(_on_two_lines, terms)], boxes)
    top, deep = 0.0, 1
    for panel, term in enumerate(terms, 1):
        for number, table in enumerate(tables):
            row = table.rows(stack).get(term)
            if row is None or reason_without_score(row, approach) is not None:
                continue
            values = row.scores[approach]
            top, deep = max(top, float(values.max())), max(deep, len(values))
            colour = style.TERM_COLOURS[term]
            drawing.trace(
                "scatter",
                panel,
                x=list(range(len(values))),
                y=values.tolist(),
                mode="lines+markers",
                line={"color": colour, "width": 2, "dash": DASHES[number]},
                marker=_marker(number, colour, dark, 8),
                hovertemplate=f"{_named(number, titles[number])}<br>{style.symbol(term)}, layer "
                "%{x}: <b>%{y:.4g}</b><extra></extra>",
                showlegend=False,
            )
    ticks = list(range(0, deep, max(1, -(-deep // 6))))
    drawing.axes("x", tickvals=ticks, range=[-0.4, deep - 0.6], fixedrange=True, showgrid=False)
    drawing.axes("y", range=[-0.04 * (top or 1), 1.08 * (top or 1)], fixedrange=True, nticks=5)
    _draw_legend(drawing, len(tables), dark)
    return drawing.figure(dark, height=PANEL * down + LEGEND, margin={"t": TITLES + LEGEND, "b": 24})


def _on_two_lines(term: str) -> str:
    """Name a term as narrow as it can be, above a panel of a phone: "first", "LayerNorm b_LN1"."""
    first, _, rest = TERMS[term].label.partition(" ")
    return f"<b>{first}</b><br>{f'<b>{rest}</b> ' * bool(rest)}{style.symbol(term)}"


def difference_map(found: Sequence[Difference], approach: str, dark: bool = False) -> go.Figure:
    """Draw the first minus the second, layer by term, on a scale of its own with nothing in the middle."""
    sizes = [np.abs(d.layers).max() for d in found if d.layers is not None]
    sizes += [abs(d.mean) for d in found if d.mean is not None]
    rows_ = [_Row(d.term, d.layers, d.mean, d.reason) for d in found]
    return _map(rows_, float(max(sizes, default=0.0)) or 1.0, "mean", APPROACHES[approach].label, dark)


def cosine_map(found: Sequence[Alike], dark: bool = False) -> go.Figure:
    """Draw the cosine of two movements, layer by term: -1 opposite, 0 unrelated, 1 the same direction."""
    return _map([_Row(one.term, one.layers, one.whole, one.reason) for one in found], 1.0, "all", "cosine", dark)


def angles(cosines: np.ndarray, titles: Sequence[str], dark: bool = False) -> go.Figure:
    """Draw the angle between the changes of every two snapshots, in degrees, coloured by its cosine."""
    names = [f"{shape(n)} {LETTERS[n]}" for n in range(len(titles))]
    known = np.isfinite(cosines)
    degrees = np.degrees(np.arccos(np.where(known, cosines, 0)))
    figure = go.Figure(
        go.Heatmap(
            z=without_nan(cosines),
            x=names,
            y=names,
            xgap=2,
            ygap=2,
            zmin=-1,
            zmax=1,
            colorscale=_diverging(dark),
            text=np.where(known, np.char.add(np.round(degrees).astype(int).astype(str), "°"), "–").tolist(),
            texttemplate="%{text}",
            textfont={"size": 14},
            showscale=False,
            hoverongaps=False,
            customdata=[
                [
                    f"{_named(i, a)}<br>{_named(j, b)}<br>"
                    + (
                        f"angle <b>{degrees[i, j]:.1f}°</b>, cosine <b>{cosines[i, j]:.3f}</b>"
                        if known[i, j]
                        else "nothing to compare"
                    )
                    for j, b in enumerate(titles)
                ]
                for i, a in enumerate(titles)
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )
    )
    figure.update_xaxes(side="top", fixedrange=True, showgrid=False)
    figure.update_yaxes(autorange="reversed", fixedrange=True, showgrid=False)
    figure.update_layout(template=style.template(dark), height=max(220, 46 * len(titles) + 60))
    return figure


def terms_of(tables: Sequence[ScoreTable], stack: str) -> list[str]:
    """List the terms that at least one snapshot has, in canonical order."""
    return [term for term in TERM_KEYS if any(term in table.rows(stack) for table in tables)]


# --- maps of two snapshots -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    """Row of a map: a term."""

    term: str
    layers: np.ndarray | None
    whole: float | None
    """Value of the last column."""
    reason: str | None


def _map(cells: Sequence[_Row], top: float, last: str, quantity: str, dark: bool) -> go.Figure:
    """Draw layer by term between ``-top`` and ``top``; the last column, called `last`, is over all layers."""
    columns = Columns(max((len(row.layers) for row in cells if row.layers is not None), default=1))
    empty = np.full(columns.layers, np.nan)  # all others have as many layers as their stack
    z = np.array([empty if row.layers is None else row.layers for row in cells])
    whole = np.array([[np.nan if row.whole is None else row.whole] for row in cells])
    look: dict[str, Any] = {
        "coloraxis": "coloraxis",
        "ygap": 2,
        "texttemplate": "%{text}",
        "hoverongaps": False,
        "textfont": {"size": 12},
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    figure = go.Figure(
        [
            go.Heatmap(
                z=without_nan(z), xgap=1, text=_texts(z, top), customdata=_hover(cells, z, "layer {}", quantity), **look
            ),
            go.Heatmap(
                z=without_nan(whole),
                x0=columns.mean,
                dx=columns.mean_width,
                text=_texts(whole, top),
                customdata=_hover(cells, whole, f"{last} layers" if last == "all" else last, quantity),
                **look,
            ),
        ]
    )
    left, right = columns.ends
    shapes, notes = [], []
    for at, row in enumerate(cells):
        if row.reason is not None:
            end = right if row.whole is None else columns.layers - 0.5
            shapes.append(
                {
                    "type": "rect",
                    "x0": left,
                    "x1": end,
                    "y0": at - 0.45,
                    "y1": at + 0.45,
                    "line": {"width": 0},
                    "fillcolor": style.void(dark),
                    "layer": "below",
                }
            )
            notes.append(
                {
                    "x": (left + end) / 2,
                    "y": at,
                    "text": f"<i>{style.symbol(row.term)}: {row.reason}</i>",
                    "showarrow": False,
                    "name": "reason",
                    "font": {"size": 12},
                }
            )
    axis = columns.axis()
    height = ROW * len(cells)
    figure.update_layout(
        template=style.template(dark),
        shapes=shapes,
        annotations=notes,
        height=height + 8 + BELOW + BAR,
        margin={"t": 8, "b": BELOW + BAR},
        xaxis={**axis, "ticktext": [*axis["ticktext"][:-1], last], "showgrid": False, "fixedrange": True},
        yaxis={
            "range": [len(cells) - 0.45, -0.55],
            "showgrid": False,
            "fixedrange": True,
            "tickvals": list(range(len(cells))),
            "ticktext": [style.row_in_figures(row.term) for row in cells],
        },
        coloraxis={
            "colorscale": _diverging(dark),
            "cmin": -top,
            "cmax": top,
            "colorbar": {
                "orientation": "h",
                "x": 0.5,
                "len": 1.02,
                "y": -BELOW / height,
                "yanchor": "top",
                "thickness": 8,
                "outlinewidth": 0,
                "tickvals": [-top, 0, top],
                "tickfont": {"size": 11},
                "ticktext": [_signed(-top, short=True), "0", _signed(top, short=True)],
            },
        },
    )
    return figure


def _texts(z: np.ndarray, top: float) -> list[list[str]]:
    """Write numbers for the cells of a narrow window, with as many decimals as the scale up to `top` distinguishes.

    A scale that would take more than three decimals has powers of ten. Exact values stand under the pointer.
    """
    decimals = max(0, 1 - math.floor(math.log10(top * 0.999))) if top > 0 else 0

    def text(value: float) -> str:
        if not np.isfinite(value):
            return ""
        if decimals > 3:
            return _signed(value, short=True)
        size = f"{abs(value):.{decimals}f}"
        return f"{'−' if value < 0 else '+'}{size.removeprefix('0') or '0'}" if float(size) else "0"

    return [[text(value) for value in line] for line in z]


def _hover(cells: Sequence[_Row], z: np.ndarray, where: str, quantity: str) -> list[list[str]]:
    return [
        [
            f"{style.name_in_figures(row.term)}, {where.format(n)}<br>{quantity}: <b>{_signed(v)}</b>"
            for n, v in enumerate(line)
        ]
        for row, line in zip(cells, z, strict=True)
    ]


def _signed(value: float, short: bool = False) -> str:
    """Write a number with its sign, which says which of the two snapshots has more."""
    if not np.isfinite(value):
        return "did not move"
    size = shortest(abs(value)) if short else f"{abs(value):.4g}"
    return f"{'−' if value < 0 else '+' if value > 0 else ''}{size}"


def _diverging(dark: bool) -> list[tuple[float, str]]:
    """Colour scale: purple below, green above, the ground between. The colour-blind see both; equal is calm."""
    low, high = style.DIVERGING
    middle = "#2a3140" if dark else "#f5f6f8"
    return [(0.0, low), (0.5, middle), (1.0, high)]


# --- small parts ---------------------------------------------------------------------------------------------------


def _marker(number: int, colour: str | list[str], dark: bool, size: int) -> dict[str, Any]:
    return {
        "symbol": list(SHAPES)[number],
        "size": size,
        "color": colour,
        "line": {"color": style.ink(dark), "width": 0.8},
    }


def _draw_legend(drawing: Drawing, count: int, dark: bool) -> None:
    """Draw the legend, shapes with letters: the titles are too long for a figure."""
    for number in range(count):
        drawing.trace(
            "scatter",
            x=[None],
            y=[None],
            mode="markers",
            name=LETTERS[number],
            showlegend=True,
            hoverinfo="skip",
            marker=_marker(number, style.ink(dark), dark, 10),
        )
    drawing.layout |= {
        "showlegend": True,
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "yref": "container",
            "y": 1,
            "yanchor": "top",
            "itemclick": False,
            "itemdoubleclick": False,
            "font": {"size": 14},
        },
    }


def _named(number: int, title: str) -> str:
    return f"<b>{LETTERS[number]}</b> {in_templates(title, MAX_CHARACTERS)}"
