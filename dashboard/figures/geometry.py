"""Pairs of a bias before and after: all of them in one polar picture, and one of them taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from beft_core.scores.approaches import PAPER
from beft_core.scores.plane import Pair, iso_line, tips
from beft_core.scores.table import TermScores
from beft_core.terms import CANDIDATES
from dashboard.figures.parts import style
from dashboard.figures.parts.marks import draw_arrow
from dashboard.figures.parts.numbers import without_nan

LEVELS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
RIM = 6.0
"""Length ratio of the rim, on which larger ones are drawn: one outlier must not press all others together."""
MAX_NUMBERED = 64
"""Largest number of layers whose numbers fit into the points."""


@dataclass(frozen=True)
class Frame:
    """Part of the plane that is drawn: as it is, or unrolled into angle (x) and length ratio (y)."""

    x: tuple[float, float]
    y: tuple[float, float]
    unrolled: bool = False

    @classmethod
    def around(cls, x: np.ndarray, y: np.ndarray) -> Frame:
        """Frame the plane with all points and the whole of pre."""
        xs, ys = (np.append(values[np.isfinite(values)], (0.0, 1.0)[:n]) for values, n in ((x, 2), (y, 1)))
        pad = 0.12 * max(float(np.ptp(xs)), float(np.ptp(ys)))
        return cls((float(xs.min()) - pad, float(xs.max()) + pad), (float(ys.min()) - pad, float(ys.max()) + pad))

    @classmethod
    def unroll(cls, x: np.ndarray, y: np.ndarray) -> Frame:
        """Frame the angle and length ratio of all points and of pre."""
        angle, ratio = _unrolled(x[np.isfinite(x)], y[np.isfinite(y)])
        low, high = float(min(ratio.min(initial=1), 1)), float(max(ratio.max(initial=1), 1))
        pad = 0.1 * max(high - low, 0.2)
        most = float(angle.max(initial=10))
        return cls((-0.06 * most, 1.06 * most), (low - pad, high + pad), True)

    def place(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Place points of the plane (y at least 0) where they are drawn."""
        return _unrolled(x, y) if self.unrolled else (x, y)


def _unrolled(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.degrees(np.arctan2(y, x)), np.hypot(x, y)


def polar(
    rows: Sequence[TermScores], chosen: tuple[str, int] | None, dark: bool = False, unrolled: bool = False
) -> go.Figure:
    """Draw every layer of every term: the angle from pre is the angle of the point, |post|/|pre| its distance from 0.

    `rows`: of one stack; `chosen`: term and layer to ring; `unrolled`: angle and length ratio across and up instead,
    which keeps apart what crowds. Thin lines join points of one projection ratio. Layers whose pre is zero are left
    out: they have no length ratio (`without_length` counts them).
    """
    points = {row.term: _clipped(*tips(row.movement.geometry())) for row in rows}
    every = [np.concatenate(axis) for axis in zip(*points.values(), strict=True)]
    frame = Frame.unroll(*every) if unrolled else Frame.around(*every)
    figure = go.Figure()
    _draw_plane(figure, frame, dark)
    small = len(every[0]) > MAX_NUMBERED
    for row in rows:
        x, y = frame.place(*points[row.term])
        figure.add_scatter(x=without_nan(x), y=without_nan(y), **_points(row, small, dark))
        if chosen is not None and chosen[0] == row.term and chosen[1] < len(x) and np.isfinite(x[chosen[1]]):
            figure.add_scatter(
                x=[x[chosen[1]]],
                y=[y[chosen[1]]],
                mode="markers",
                name="chosen",
                hoverinfo="skip",
                marker={
                    "size": 18 if small else 26,
                    "symbol": "circle-open",
                    "color": style.ink(dark),
                    "line_width": 2.5,
                },
            )
    if not unrolled:
        _arrow(figure, (0, 0), (1, 0), style.ink(dark))
        figure.add_annotation(x=0.5, y=0, text="<b>before</b>", showarrow=False, yshift=11, font={"size": 13})
    _finish(figure, frame, dark, 560)
    return figure


def has_points(rows: Sequence[TermScores]) -> bool:
    """Say whether :func:`polar` has a point to draw: where every pre is zero, no layer has a place in the plane."""
    return any(bool(np.isfinite(tips(row.movement.geometry())).all(axis=0).any()) for row in rows)


def without_length(rows: Sequence[TermScores]) -> dict[str, int]:
    """Count the layers in which pre is zero and post is not: term -> number."""
    counts = {row.term: int(np.isinf(row.movement.geometry()["length_ratio"]).sum()) for row in rows}
    return {term: count for term, count in counts.items() if count}


def beyond_rim(rows: Sequence[TermScores]) -> int:
    """Count the points that are drawn on the rim, nearer than they are."""
    ratios = np.concatenate([row.movement.geometry()["length_ratio"] for row in rows])
    return int((np.isfinite(ratios) & (ratios > RIM)).sum())


def one_pair(pair: Pair, term: str, dark: bool = False) -> go.Figure:
    """Draw a layer's pre and post as arrows in their own plane, with the shorter one's projection onto the longer."""
    tip, foot = np.array(pair.post), np.array(pair.foot)
    measured = bool(np.isfinite(tip).all())
    if not measured:
        tip, foot = np.array([0.0, 1.0]), np.zeros(2)  # pre is zero: post alone, in lengths of its own
    frame = Frame.around(np.array([tip[0], foot[0]]), np.array([tip[1], foot[1]]))
    figure = go.Figure()
    _draw_plane(figure, frame, dark, labels=False)
    colour = style.TERM_COLOURS[term]
    if measured:
        shorter = tip if pair.onto == "pre" else np.array([1.0, 0.0])
        figure.add_scatter(
            x=[0, foot[0]],
            y=[0, foot[1]],
            mode="lines",
            line={"color": colour, "width": 9},
            opacity=0.3,
            hovertemplate="the shadow of the shorter one<extra></extra>",
            name="shadow",
        )
        figure.add_scatter(
            x=[shorter[0], foot[0]],
            y=[shorter[1], foot[1]],
            mode="lines",
            name="drop",
            hoverinfo="skip",
            line={"color": style.ink(dark), "width": 1.5, "dash": "dash"},
        )
        figure.add_scatter(
            x=[foot[0]],
            y=[foot[1]],
            mode="markers",
            name="foot",
            hoverinfo="skip",
            marker={"size": 8, "color": style.ground(dark), "line": {"color": style.ink(dark), "width": 1.5}},
        )
        _arrow(figure, (0, 0), (1, 0), style.ink(dark))
        figure.add_annotation(x=1, y=0, text="<b>pre</b>", showarrow=False, yshift=-12, font={"size": 14})
    _arrow(figure, (0, 0), (float(tip[0]), float(tip[1])), colour)
    figure.add_annotation(
        x=tip[0],
        y=tip[1],
        text="<b>post</b>",
        showarrow=False,
        yshift=13,
        font={"size": 14, "color": style.term_ink(term, dark)},
    )
    _finish(figure, frame, dark, 330)
    return figure


def _clipped(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shrink = np.minimum(1, RIM / np.maximum(np.hypot(x, y), 1e-12))
    return x * shrink, y * shrink


def _points(row: TermScores, small: bool, dark: bool) -> dict[str, Any]:
    """Look of a term's points, joined in the order of layers. Terms that stayed where they were are hollow."""
    shape = row.movement.geometry()
    layers = range(len(shape["cosine"]))
    colour = style.TERM_COLOURS[row.term]
    moved = (row.scores["magnitude"] > 0).any()
    contest = row.term in CANDIDATES
    inside = style.on_colour(colour)
    return {
        "name": row.term,
        "mode": "lines+markers" + ("" if small else "+text"),
        "text": [str(layer) for layer in layers],
        "textfont": {"size": 10, "color": inside},
        "line": {"color": colour, "width": 1.5 if contest else 0.8},
        "marker": {
            "size": 9 if small else 17,
            "color": colour,
            "symbol": ["diamond" if back else "circle" for back in shape["reversed"]] if moved else "square",
            "line": {"color": style.ground(dark), "width": 1},
        },
        "opacity": 1.0 if contest else 0.6,
        "customdata": [[row.term, layer, _hover(row, shape, layer)] for layer in layers],
        "hovertemplate": "%{customdata[2]}<extra></extra>",
        "selected": {"marker": {"opacity": 1.0}},
        "unselected": {"marker": {"opacity": 1.0}, "textfont": {"color": inside}},
    }


def _hover(row: TermScores, shape: dict[str, np.ndarray], layer: int) -> str:
    text = (
        f"<b>{style.name_in_figures(row.term)}</b>, layer {layer}"
        f"<br>angle {shape['angle_degrees'][layer]:.1f}°, length ×{shape['length_ratio'][layer]:.3g}"
        f"<br>projection ratio {row.scores[PAPER][layer]:.4g}"
    )
    if shape["reversed"][layer]:
        text += "<br>↺ reversed: the angle is above 90°"
    if row.null:
        text += "<br>null: its movement is rounding noise" if row.trained else "<br>null: frozen, all layers lie here"
    return text


def _draw_plane(figure: go.Figure, frame: Frame, dark: bool, labels: bool = True) -> None:
    """Draw circles of equal length, rays of equal angle, and lines of equal projection ratio with their scores."""
    reach = RIM * 2 if frame.unrolled else 2 * float(np.hypot(max(map(abs, frame.x)), max(map(abs, frame.y))))
    if not frame.unrolled:
        _draw_circles_and_rays(figure, frame, reach, dark, labels)
    colour = style.neutral(dark)
    for level in LEVELS:
        x, y = _dense(*iso_line(level, reach))
        upper = y >= 0
        x, y = frame.place(x[upper], y[upper])
        figure.add_scatter(
            x=x, y=y, mode="lines", hoverinfo="skip", name="level", opacity=0.45, line={"color": colour, "width": 1}
        )
        right, top = (high - 0.07 * (high - low) for low, high in (frame.x, frame.y))  # room for the label
        inside = np.flatnonzero((x > frame.x[0]) & (x < right) & (y > frame.y[0]) & (y < top))
        if labels and inside.size:  # labels are furthest apart where the lines leave the frame
            at = inside[np.argmax(y[inside])]
            figure.add_scatter(  # not an annotation: those would cover the points
                x=[x[at]],
                y=[y[at]],
                mode="text",
                text=[f"{level:g}"],
                textfont={"size": 12, "color": colour},
                textposition="middle right",
                name="level label",
                hoverinfo="skip",
            )


def _draw_circles_and_rays(figure: go.Figure, frame: Frame, reach: float, dark: bool, labels: bool) -> None:
    faint: dict[str, Any] = {"showarrow": False, "font": {"size": 12}, "opacity": 0.65}
    for angle in range(30, 181, 30):
        ray = np.linspace(0, reach, 400)
        x, y = ray * np.cos(np.radians(angle)), ray * np.sin(np.radians(angle))
        figure.add_scatter(
            x=x[[0, -1]],
            y=y[[0, -1]],
            mode="lines",
            hoverinfo="skip",
            name="ray",
            line={"color": style.void(dark), "width": 1},
        )
        inside = np.flatnonzero((x > frame.x[0]) & (x < frame.x[1]) & (y < frame.y[1]))
        end = inside[-1]
        if labels and ray[end] > 0.5:
            figure.add_annotation(x=x[end], y=y[end], text=f"{angle}°", **faint)
    turn = np.radians(np.linspace(0, 180, 181))
    for radius in _circles(reach / 2):
        figure.add_scatter(
            x=radius * np.cos(turn),
            y=radius * np.sin(turn),
            mode="lines",
            hoverinfo="skip",
            name="circle",
            line={"color": style.void(dark), "width": 2 if radius == 1 else 1, "dash": "dot" if radius != 1 else None},
        )
        if labels and radius < frame.x[1]:
            figure.add_annotation(x=radius, y=0, text=f"×{radius:g}", yshift=-12, **faint)


def _circles(reach: float) -> list[float]:
    step = next(step for step in (0.25, 0.5, 1.0, 2.0) if reach / step <= 8 or step == 2.0)
    return [float(radius) for radius in np.arange(1, int(reach / step) + 1) * step]


def _dense(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw the last piece of a line, the chord, as many points."""
    fine = np.linspace(0, 1, 80)
    return (np.append(x[:-1], x[-2] + fine * (x[-1] - x[-2])), np.append(y[:-1], y[-2] + fine * (y[-1] - y[-2])))


def _arrow(figure: go.Figure, tail: tuple[float, float], tip: tuple[float, float], colour: str) -> None:
    if np.hypot(tip[0] - tail[0], tip[1] - tail[1]) < 1e-9:
        return
    draw_arrow(figure, tail, tip, colour)


def _finish(figure: go.Figure, frame: Frame, dark: bool, height: int) -> None:
    figure.update_xaxes(range=frame.x, fixedrange=True)
    figure.update_yaxes(range=frame.y, fixedrange=True)
    if frame.unrolled:
        figure.update_xaxes(title={"text": "angle between before and after", "standoff": 4}, ticksuffix="°")
        figure.update_yaxes(title={"text": "length after, relative to before", "standoff": 4}, tickprefix="×")
    else:
        figure.update_xaxes(showgrid=False, showticklabels=False)
        figure.update_yaxes(showgrid=False, showticklabels=False, scaleanchor="x", scaleratio=1)
    figure.update_layout(template=style.template(dark), height=height, hovermode="closest", hoverdistance=30)
