"""Methods of fine-tuning against each other: what each is worth, over how many values it trains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Any

import plotly.graph_objects as go

from beft_core.methods import METHODS
from beft_core.terms import TERMS
from dashboard.figures.parts import style
from dashboard.figures.parts.labels import in_figures, trained_in_words
from dashboard.figures.parts.numbers import apart

PLOT, HEAD, FOOT, SIDE = 240, 112, 74, 56
"""Sizes in pixels: the marks, the names above them, the axis with the legend below, and the room right of the last mark
for its name.
"""
BESIDE = 20
"""Least distance in pixels from a method to the next: as much as its slanted name takes."""
SLANT = -60
"""Angle of the names in degrees, upwards."""
MAX_NAME = 22
"""Most characters of a name."""
LEAST = 10.0
"""Least span of the y axis, in percentage points, so that small differences look small."""
REACH = 0.5
"""How far the y axis may go beyond all values for the sake of intervals, in times of the values' span."""
USUAL = 2.0
"""The same in times of half of the median interval, whichever is farther: two seeds that disagree have an interval of
0 to 100, beside which nothing else could be told apart.
"""
NOTHING = "none"
"""Word at the axis for methods that train nothing."""
CUT = "goes on"
"""Name of the triangles at intervals that leave the picture."""
SAME, BEST = "one learning rate for all", "each at its best"
"""Names of the two halves: one learning rate for all, hollow; each at its own, filled."""


@dataclass(frozen=True)
class MethodMark:
    """Result of one method at one of the two settings."""

    trains: str
    """What was trained, as a result table says it: ``v``, ``lora rank=4``, ``full``."""
    trained: int
    """Number of trained values, without the head."""
    value: float
    """Mean of the metric, a fraction."""
    low: float | None = None
    high: float | None = None
    """Ends of its interval; None: there is none."""
    same: bool = False
    """Whether it is at the one learning rate for all, as the paper has its methods; else at its own best."""
    about: str = ""
    """More about it, for the pointer: its learning rate, its seeds."""
    label: str = ""
    """Name of the method; empty: made of what was trained. A bias term has its symbol in any case."""


def value_by_size(
    marks: Sequence[MethodMark],
    metric: str,
    constant: float | None = None,
    dark: bool = False,
    *,
    width: float = 500,
    interval: str = "95 % interval",
) -> go.Figure:
    """Draw the metric of each method, in percent, over the number of values that it trains, on a logarithmic axis.

    A method has one place, in which its mark at one rate for all is hollow and that at its best filled; a line
    joins the two. Methods with equally many values stand beside each other around their number. An interval that is far
    longer than the usual one ends in a triangle where it leaves the picture. ``constant``: metric of the best
    constant answer, a fraction; None: not known. ``width``: of the marks on the screen, in pixels, about; ``interval``:
    what the bars are.
    """
    figure = go.Figure()
    places = _places(marks, width)
    limits = _limits(marks, constant)
    low, high = _span(marks, constant, limits)
    for name, own in _by_method(marks).items():
        _draw_name(figure, name, own, places[name], high, dark)
        _draw_method(figure, name, own, places[name], limits, metric, interval, dark)
    for half, same in ((BEST, False), (SAME, True)):
        if any(mark.same == same for mark in marks):
            figure.add_scatter(
                x=[None],
                y=[None],
                name=half,
                mode="markers",
                showlegend=True,
                marker={"symbol": "circle-open" if same else "circle", "size": 11, "color": style.ink(dark)},
            )
    if constant is not None:
        figure.add_hline(
            y=100 * constant,
            line={"color": style.ink(dark), "width": 1, "dash": "dot"},
            name="constant answer",
            annotation={"text": "always the commonest answer", "xanchor": "right", "yanchor": "top", "font_size": 12},
        )
    _scale(figure, marks, places)
    figure.update_yaxes(range=[low, high], title={"text": f"{in_figures(metric)}, %", "standoff": 6}, fixedrange=True)
    figure.update_layout(
        template=style.template(dark),
        height=HEAD + PLOT + FOOT,
        margin={"t": HEAD, "b": FOOT, "r": SIDE},
        hovermode="closest",
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": -52 / PLOT, "yanchor": "top"},
    )
    return figure


def _by_method(marks: Sequence[MethodMark]) -> dict[str, list[MethodMark]]:
    """Collect the marks of each method, methods with fewer trained values first."""
    ordered = sorted(marks, key=lambda mark: (mark.trained, mark.trains, mark.same))
    return {name: list(own) for name, own in groupby(ordered, key=lambda mark: mark.trains)}


def _draw_method(
    figure: go.Figure,
    name: str,
    own: Sequence[MethodMark],
    place: float,
    limits: tuple[float, float],
    metric: str,
    interval: str,
    dark: bool,
) -> None:
    colour, words = _colour(name, dark), _name(own[0])
    values = [100 * mark.value for mark in own]
    if len(own) > 1:
        _draw_line(figure, place, (min(values), max(values)), {"color": colour, "width": 1, "dash": "dot"})
    for mark in own:
        ends = _ends(mark, limits)
        below, above = (0.0, 0.0) if ends is None else (100 * mark.value - ends[0], ends[1] - 100 * mark.value)
        figure.add_scatter(
            x=[10**place],
            y=[100 * mark.value],
            mode="markers",
            name=f"{words}, {SAME if mark.same else BEST}",
            showlegend=False,
            cliponaxis=False,
            marker={
                "symbol": _symbol(mark),
                "size": 12,
                "color": style.ground(dark) if mark.same else colour,
                "line": {"color": colour, "width": 2},
            },
            error_y={
                "visible": ends is not None,
                "type": "data",
                "symmetric": False,
                "array": [above],
                "arrayminus": [below],
                "color": colour,
                "thickness": 1.5 if mark.same else 3,
                "width": 0,
            },
            customdata=[_about(words, mark, metric, interval)],
            hovertemplate="%{customdata}<extra></extra>",
        )
        _draw_cuts(figure, place, mark, limits, colour)


def _draw_cuts(figure: go.Figure, place: float, mark: MethodMark, limits: tuple[float, float], colour: str) -> None:
    """Draw a triangle where an interval leaves the picture: it goes on."""
    low, high = limits
    beyond = {"triangle-down": low if mark.low is not None and 100 * mark.low < low else None}
    beyond["triangle-up"] = high if mark.high is not None and 100 * mark.high > high else None
    for symbol, at in beyond.items():
        if at is not None:
            figure.add_scatter(
                x=[10**place],
                y=[at],
                mode="markers",
                name=CUT,
                showlegend=False,
                hoverinfo="skip",
                cliponaxis=False,
                marker={"symbol": symbol, "size": 9, "color": colour},
            )


def _draw_line(figure: go.Figure, place: float, ends: tuple[float, float], line: dict[str, Any]) -> None:
    """Draw an upright line at a method's place."""
    figure.add_shape(type="line", x0=10**place, x1=10**place, y0=ends[0], y1=ends[1], line=line, layer="below")


def _draw_name(figure: go.Figure, name: str, own: Sequence[MethodMark], place: float, top: float, dark: bool) -> None:
    """Write the name of a method above the picture, with a thin line from it down to the highest mark."""
    colour = _colour(name, dark)
    highest = max(100 * mark.value for mark in own)
    _draw_line(figure, place, (highest, top), {"color": style.shade(colour, 2, dark), "width": 1})
    figure.add_annotation(
        x=place,  # of a logarithmic axis an annotation takes the logarithm
        y=1,
        yref="y domain",
        text=_name(own[0]),
        textangle=SLANT,
        xanchor="left",
        yanchor="bottom",
        xshift=-4,
        showarrow=False,
        name=in_figures(name),
        font={"color": style.readable(colour, dark), "size": 12},
    )


def _about(words: str, mark: MethodMark, metric: str, interval: str) -> str:
    """Write what the pointer says of a mark."""
    shown = f"<b>{words}</b>, {SAME if mark.same else BEST}<br>{in_figures(metric)} {100 * mark.value:.1f} %"
    if mark.low is not None and mark.high is not None:
        shown += f", {interval} {100 * mark.low:.1f} to {100 * mark.high:.1f}"
    shown += f"<br>{mark.trained:,} trained values" if mark.trained else "<br>nothing is trained but a head"
    return shown + (f"<br>{in_figures(mark.about)}" if mark.about else "")


def _places(marks: Sequence[MethodMark], width: float) -> dict[str, float]:
    """Place each method on the axis, as a logarithm to the base of ten; what trains nothing at the left end."""
    least = min((mark.trained for mark in marks if mark.trained), default=10)
    logs = {
        name: math.log10(own[0].trained) if own[0].trained else math.log10(least) - 1
        for name, own in _by_method(marks).items()
    }
    span = max(1.0, max(logs.values(), default=1.0) - min(logs.values(), default=0.0))
    return apart(logs, BESIDE * span / width)


def _scale(figure: go.Figure, marks: Sequence[MethodMark], places: dict[str, float]) -> None:
    """Scale the axis of trained values, with a tick at every power of ten."""
    low, high = min(places.values(), default=0.0), max(places.values(), default=1.0)
    trained = [mark.trained for mark in marks if mark.trained]
    powers = range(math.ceil(math.log10(min(trained, default=1)) - 1e-9), math.floor(high) + 1)
    ticks = {float(10**power): _short(10**power) for power in powers}
    if nothing := [places[mark.trains] for mark in marks if not mark.trained]:
        ticks = {10 ** (sum(nothing) / len(nothing)): NOTHING, **ticks}
    margin = 0.04 * max(1.0, high - low)
    figure.update_xaxes(
        type="log",
        range=[low - margin, high + margin],
        tickvals=list(ticks),
        ticktext=list(ticks.values()),
        title={"text": "trained values", "standoff": 4},
        fixedrange=True,
    )


def _short(count: int) -> str:
    """Write a power of ten: 1,000, 10 k, 1 M, 1 G."""
    for size, sign in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if count >= size:
            return f"{count // (1000 if sign == 'k' else size)} {sign}"
    return f"{count:,}"


def _values(marks: Sequence[MethodMark], constant: float | None) -> list[float]:
    """List all that the picture must hold, in percent: the marks and the constant answer."""
    return [100 * mark.value for mark in marks] + ([100 * constant] if constant is not None else [])


def _limits(marks: Sequence[MethodMark], constant: float | None) -> tuple[float, float]:
    """Compute how far intervals are drawn, in percent: :data:`REACH` or :data:`USUAL` beyond all values."""
    values = _values(marks, constant)
    low, high = min(values, default=0.0), max(values, default=100.0)
    halves = [50 * (mark.high - mark.low) for mark in marks if mark.low is not None and mark.high is not None]
    reach = max(REACH * max(high - low, LEAST), USUAL * median(halves or [0.0]))
    return low - reach, high + reach


def _ends(mark: MethodMark, limits: tuple[float, float]) -> tuple[float, float] | None:
    """Compute the ends of an interval as far as it is drawn, in percent; None: there is none."""
    if mark.low is None or mark.high is None:
        return None
    return max(limits[0], 100 * mark.low), min(limits[1], 100 * mark.high)


def _span(marks: Sequence[MethodMark], constant: float | None, limits: tuple[float, float]) -> tuple[float, float]:
    """Compute the ends of the y axis in percent: all marks, what is drawn of their intervals, the constant answer."""
    values = _values(marks, constant) + [end for mark in marks for end in _ends(mark, limits) or ()]
    low, high = min(values, default=0.0), max(values, default=100.0)
    more = max(0.0, LEAST - (high - low)) / 2 + 0.05 * max(high - low, LEAST)
    return low - more, high + more


def _colour(trains: str, dark: bool) -> str:
    """Colour of the one bias term that is trained; of every other method that of the text."""
    return style.TERM_COLOURS.get(trains, style.ink(dark))


def _symbol(mark: MethodMark) -> str:
    """Symbol of a method by what it changes: biases, an adapter, single weights, every weight, or nothing."""
    if set(mark.trains.split("+")) <= set(TERMS):  # one that is null stays frozen, and trains a head alone
        return "circle"
    row = METHODS.get(mark.trains.partition(" ")[0])
    if row is None:
        return "circle" if mark.trained else "x"
    if row.adapter is not None:
        return "diamond"
    if row.changes_weights:
        return "star" if mark.trains == "full" else "hexagon"
    return "circle" if row.trains else "x"


def _name(mark: MethodMark) -> str:
    """Write what was trained, for plotly: symbols of bias terms, names of methods."""
    terms = mark.trains.split("+")
    if set(terms) <= set(TERMS):
        return " + ".join(map(style.symbol, terms))
    short = {"all": "all biases", "head": "head only"}.get(mark.trains) or trained_in_words(mark.trains)
    return in_figures(mark.label or short, MAX_NAME)
