"""Heatmaps, layer x term, of several approaches side by side, with a column for the mean over layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from beft_core.scores.approaches import APPROACHES
from beft_core.scores.table import FROZEN, ScoreTable, TermScores, rank_rows, reason_without_score
from beft_core.terms import TERMS
from dashboard.figures.parts import style
from dashboard.figures.parts.drawing import Drawing, grid
from dashboard.figures.parts.numbers import shortest, without_nan

ROW, TITLE, BELOW, BAR = 26, 34, 44, 40
"""Heights in pixels: a row, the panel's title, from the panel down to its colour bar, the colour bar with its
numbers.
"""


@dataclass(frozen=True)
class Columns:
    """Places on the x axis of a panel, in cells: layer n is centred on n."""

    layers: int

    @property
    def mean_width(self) -> float:
        """Width that holds the longest number of `numbers.shortest` at 900 pixels, whatever the number of layers."""
        return max(2.0, self.layers / 3.2)

    @property
    def mean(self) -> float:
        """Centre of the mean column, set off by a gap."""
        return self.layers + 0.1 + self.mean_width / 2

    @property
    def ends(self) -> tuple[float, float]:
        """First and last place of the axis."""
        return -0.5, self.mean + self.mean_width / 2

    def axis(self) -> dict[str, Any]:
        """Settings of Plotly's x axis."""
        ticks = list(range(0, self.layers, max(1, self.layers // 6)))
        left, right = self.ends
        return {
            "range": [left - 0.12, right + 0.12],  # room for the frame
            "tickvals": [*ticks, self.mean],
            "ticktext": [*map(str, ticks), "mean"],
            "title": {"text": "layer", "standoff": 2, "font": {"size": 12}},
        }


def heatmaps(
    table: ScoreTable,
    approaches: Sequence[str],
    selected: Mapping[str, str | None],
    stack: str,
    dark: bool = False,
    marked: tuple[int, str] | None = None,
) -> go.Figure:
    """Draw one panel per approach; a row is a term, a column a layer, the last column the mean over layers.

    Terms that did not take part (null and frozen, or not trained) are grey with the reason in words; a cell whose
    angle is above 90 degrees bears a turned arrow; the selected term of each approach is framed, and so is the cell
    ``marked`` (layer, term). A click on a cell is a click on a point of the trace "cells": see :func:`clicked`.
    """
    rows = list(table.rows(stack).values())
    columns = Columns(len(next(iter(rows[0].scores.values()))))
    titles = [f"<b>{APPROACHES[key].label}</b>" for key in approaches]
    drawing = Drawing.of_panels(titles, grid(len(titles), len(titles), 0.03), title_size=15)
    for panel, key in enumerate(approaches, 1):
        _draw_scores(drawing, panel, rows, key, columns, _bar(*drawing.boxes[panel - 1].x, len(rows)))
        _draw_reasons(drawing, panel, rows, key, columns, dark)
        terms = [row.term for row in rows]
        _draw_frame(drawing, panel, terms, selected.get(key), columns, dark)
        _draw_mark(drawing, panel, terms, marked, dark)
        _draw_points(drawing, panel, rows, key, columns)
    drawing.axes("x", showgrid=False, fixedrange=True, **columns.axis())
    drawing.axes("y", showgrid=False, fixedrange=True, range=[len(rows) - 0.45, -0.55])
    drawing.axes("y", tickvals=list(range(len(rows))), ticktext=[_row_label(row) for row in rows])
    return drawing.figure(
        dark,
        height=ROW * len(rows) + TITLE + BELOW + BAR,
        margin={"t": TITLE, "b": BELOW + BAR},
        hovermode="closest",
        hoverdistance=-1,  # the whole cell hears the pointer, not only its centre
    )


def clicked(event: Any) -> tuple[int | None, str] | None:
    """Read the (layer, term) of the clicked cell from a selection event; layer None: the mean; None: no cell."""
    points = ((event or {}).get("selection") or {}).get("points") or []
    data = points[0].get("customdata") if points else None
    if not isinstance(data, list | tuple) or len(data) < 2 or data[1] not in TERMS:
        return None
    return (int(data[0]) if isinstance(data[0], int | float) and data[0] >= 0 else None), str(data[1])


def why_grey(row: TermScores, approach: str) -> str | None:
    """Write why the row of a term is grey; None where it has a score that can be compared."""
    reason = reason_without_score(row, approach)
    return "null: frozen, scores 0" if reason == FROZEN else reason


def partly_null(row: TermScores) -> str:
    """Write the flag of a term of which some elements are null: how many of how many in a layer."""
    return f"{row.null_elements}/{row.width} null " if row.null_elements else ""


def _draw_scores(
    drawing: Drawing, panel: int, rows: Sequence[TermScores], key: str, columns: Columns, bar: dict[str, Any]
) -> None:
    """Draw the cells of the layers and of the mean, on one colour scale, whose ``bar`` has that look."""
    reasons = [why_grey(row, key) for row in rows]
    nothing = np.full(columns.layers, np.nan)
    z = np.array([nothing if why else row.scores[key] for row, why in zip(rows, reasons, strict=True)])
    turned = np.array([row.movement.geometry()["reversed"] for row in rows]) & np.isfinite(z)
    turned &= APPROACHES[key].needs == "movement"
    means = z.mean(axis=1, keepdims=True)
    axis = f"coloraxis{panel if panel > 1 else ''}"
    look: dict[str, Any] = {"coloraxis": axis, "ygap": 2, "hoverinfo": "skip"}
    drawing.trace("heatmap", panel, z=without_nan(z), xgap=1, **look)
    drawing.trace("heatmap", panel, z=without_nan(means), x0=columns.mean, dx=columns.mean_width, **look)
    highest = float(np.nanmax(z)) if np.isfinite(z).any() else 0.0
    words = [(layer, at, "↺", z[at, layer]) for at, layer in np.argwhere(turned).tolist()] + [
        (columns.mean, at, shortest(mean), mean) for at, (mean,) in enumerate(means.tolist()) if np.isfinite(mean)
    ]
    drawing.trace(
        "scatter",
        panel,
        x=[x for x, *_ in words],
        y=[at for _, at, *_ in words],
        text=[text for *_, text, _ in words],
        mode="text",
        # A heatmap's own text takes the page's or a middling colour, which is hard to read on the middle of the scale.
        textfont={"color": [style.on_scale(value / (highest or 1.0)) for *_, value in words], "size": 12},
        hoverinfo="skip",
        name="words",
    )
    drawing.layout[axis] = {"colorscale": style.SCALE, "cmin": 0, "cmax": highest or 1.0, "colorbar": bar}


def _draw_reasons(
    drawing: Drawing, panel: int, rows: Sequence[TermScores], key: str, columns: Columns, dark: bool
) -> None:
    left, right = columns.ends
    for at, row in enumerate(rows):
        reason = why_grey(row, key)
        if reason is None:
            continue
        drawing.rectangle(
            panel,
            x0=left,
            x1=right,
            y0=at - 0.45,
            y1=at + 0.45,
            line={"width": 0},
            fillcolor=style.void(dark),
            layer="below",
        )
        x = (left + right) / 2
        drawing.words(f"<i>{reason}</i>", panel, x=x, y=at, name="reason", font={"size": 15})


def _draw_frame(
    drawing: Drawing, panel: int, terms: Sequence[str], selected: str | None, columns: Columns, dark: bool
) -> None:
    if selected is None:
        return
    left, right = columns.ends
    at = terms.index(selected)
    drawing.rectangle(
        panel,
        x0=left,
        x1=right,
        y0=at - 0.5,
        y1=at + 0.5,
        line={"color": style.ink(dark), "width": 2},
        name="selected",
    )


def _draw_mark(drawing: Drawing, panel: int, terms: Sequence[str], marked: tuple[int, str] | None, dark: bool) -> None:
    """Frame the marked cell by two lines, one dark and one light: seen on every colour of the scale."""
    if marked is None or marked[1] not in terms:
        return
    layer, at = marked[0], terms.index(marked[1])
    for colour, width in ((style.ink(dark), 5), (style.ground(dark), 2)):
        drawing.rectangle(
            panel,
            x0=layer - 0.46,
            x1=layer + 0.46,
            y0=at - 0.44,
            y1=at + 0.44,
            line={"color": colour, "width": width},
            name="cell",
        )


def _draw_points(drawing: Drawing, panel: int, rows: Sequence[TermScores], key: str, columns: Columns) -> None:
    """Draw an invisible point on every cell for the pointer and the click, of which a heatmap reports none.

    customdata: layer (-1: the mean), term, what the pointer shows.
    """
    reasons = [why_grey(row, key) for row in rows]
    ranks = rank_rows(rows, key)
    data: list[list[Any]] = []
    for row, reason, texts in zip(rows, reasons, _hover(rows, key, reasons), strict=True):
        data += [[layer, row.term, text] for layer, text in enumerate(texts)]
        name = f"<b>{style.name_in_figures(row.term)}</b>"
        mean = reason or f"mean <b>{row.scores[key].mean():.4g}</b>, rank {ranks[row.term]}"
        data.append([-1, row.term, f"{name}: {mean}"])
    hidden = {"marker": {"opacity": 0}}
    drawing.trace(
        "scatter",
        panel,
        x=[*range(columns.layers), columns.mean] * len(rows),
        y=np.repeat(range(len(rows)), columns.layers + 1),
        mode="markers",
        marker={"size": 16, "opacity": 0},
        selected=hidden,
        unselected=hidden,
        customdata=data,
        hovertemplate="%{customdata[2]}<extra></extra>",
        name="cells",
    )


def _hover(rows: Sequence[TermScores], key: str, reasons: Sequence[str | None]) -> list[list[str]]:
    """Write what the pointer shows over each cell: the score and, of trained terms, the geometry that explains it."""
    texts = []
    for row, reason in zip(rows, reasons, strict=True):
        geometry = row.movement.geometry()
        line = []
        for layer in range(len(geometry["cosine"])):
            value = f"{row.scores[key][layer]:.4g}" if reason is None else reason
            text = f"<b>{style.name_in_figures(row.term)}</b>, layer {layer}: <b>{value}</b>"
            if row.trained:
                angle, ratio = geometry["angle_degrees"][layer], geometry["length_ratio"][layer]
                text += f"<br>angle {angle:.1f}°, length ×{ratio:.3f}"
            if geometry["reversed"][layer]:
                text += "<br>↺ reversed: the angle is above 90°"
            line.append(text)
        texts.append(line)
    return texts


def _row_label(row: TermScores) -> str:
    flag = "⚠ null " if row.null and row.trained else partly_null(row)
    chip = f'<span style="color:{style.TERM_COLOURS[row.term]}">■</span>'
    return f"{flag}{style.symbol(row.term)} {chip} "


def _bar(left: float, right: float, rows: int) -> dict[str, Any]:
    """Look of the colour bar below a panel that stands between two places of the figure's width."""
    return {
        "orientation": "h",
        "x": (left + right) / 2,
        "len": (right - left) * 1.02,
        "y": -BELOW / (ROW * rows),
        "yanchor": "top",
        "thickness": 8,
        "outlinewidth": 0,
        "nticks": 4,
        "tickfont": {"size": 11},
    }
