"""Figures of a dial: the metric over λ with the place that is looked at, what each part costs, and who knew it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from beft_core.dials.causal import CausalTest, Rule
from beft_core.dials.in_words import change, percent, span
from beft_core.dials.parts import Part
from beft_core.dials.result import Curve, Dial, Off
from beft_core.tasks.metrics import metric_in_words
from beft_core.terms import TERMS
from dashboard.figures.parts import style
from dashboard.figures.parts.drawing import Drawing, grid
from dashboard.figures.parts.labels import in_figures
from dashboard.figures.parts.marks import band
from dashboard.figures.parts.numbers import short

HEIGHT, ROW, FRAME = 310, 34, 96
"""Heights in pixels: of the curve, of a row of bars, and of what stands around these."""


def colour_of(dial: Dial, part: Part, dark: bool = False) -> str:
    """Colour of a part: that of its term, or of the text where it is of several terms."""
    term = part.term or dial.sole_term
    return style.TERM_COLOURS[term] if term is not None else style.ink(dark)


def over_lambda(dial: Dial, part: Part, at: float, dark: bool = False) -> go.Figure:
    """Draw the metric in % over λ for one part, with the place ``at``: full where it was measured, hollow where it lies
    on the line between two measurements.
    """
    curve = dial.curve(part) or dial.curves[0]
    colour = colour_of(dial, curve.part, dark)
    known = [
        (x, 100 * value, low, high)
        for x, value, low, high in zip(dial.lambdas, curve.values, curve.low, curve.high, strict=True)
        if value is not None
    ]
    xs, ys = [row[0] for row in known], [row[1] for row in known]
    drawing = Drawing()
    ends = [
        (x, 100 * (dial.trained + low), 100 * (dial.trained + high))
        for x, _, low, high in known
        if low is not None and high is not None
    ]
    if len(ends) > 1:
        place, low, high = zip(*ends, strict=True)
        drawing.trace("scatter", **band(place, low, high, colour))
    drawing.across(100 * dial.trained, line={"color": style.ink(dark), "width": 1, "dash": "dot"}, opacity=0.6)
    drawing.trace(
        "scatter",
        x=xs,
        y=ys,
        mode="lines+markers",
        name="measured",
        line={"color": colour, "width": 2.5},
        marker={"size": 7},
        customdata=[f"λ = {x:g}: {y:.1f} %<br>against λ = 1: {span(low, high)}" for x, y, low, high in known],
        hovertemplate="%{customdata}<extra></extra>",
    )
    if (point := here(dial, curve, at, dark)) is not None:
        drawing.trace("scatter", **point)
    for x, words in ((0.0, "off"), (1.0, "as trained")):
        drawing.upward(x, line={"color": style.ink(dark), "width": 1, "dash": "dash"}, opacity=0.35)
        drawing.words(words, x=x, y=1, yref="paper", yanchor="bottom", font={"size": 12}, name="place")
    margin = 0.03 * (dial.lambdas[-1] - dial.lambdas[0])
    drawing.axis(
        "x",
        range=[dial.lambdas[0] - margin, dial.lambdas[-1] + margin],
        fixedrange=True,
        title={"text": "λ: pre-trained + λ (trained − pre-trained)", "standoff": 4},
    )
    metric = in_figures(metric_in_words(dial.metric), 30)
    drawing.axis("y", fixedrange=True, title={"text": f"{metric}, %", "standoff": 4})
    return drawing.figure(dark, height=HEIGHT, margin={"t": 26}, hovermode="closest")


def here(dial: Dial, curve: Curve, at: float, dark: bool = False) -> dict[str, Any] | None:
    """Describe the trace of the place ``at`` on a curve to Plotly; None where the curve has no value there."""
    value, measured = dial.at(curve, at)
    if value is None:
        return None
    colour = colour_of(dial, curve.part, dark)
    ys = [100 * one for one in curve.values if one is not None]
    return {
        "x": [at],
        "y": [100 * value],
        "mode": "markers+text",
        "name": "here",
        "text": [f"<b>{percent(value)}</b>"],
        "textposition": "top center" if 100 * value < max(ys) - 0.12 * (max(ys) - min(ys)) else "bottom center",
        "textfont": {"size": 16, "color": style.readable(colour, dark)},
        "cliponaxis": False,
        "marker": {
            "size": 16,
            "color": colour if measured else style.ground(dark),
            "line": {"color": style.ink(dark) if measured else colour, "width": 2.5},
        },
        "hoverinfo": "skip",
    }


def costs_beside_scores(
    dial: Dial, parts: Sequence[Off], test: CausalTest | None, rule: Rule | None, dark: bool = False
) -> go.Figure:
    """Draw what each part costs when it is switched off, with its interval, and beside it its score by a rule.

    ``parts``: layers or terms. ``test`` and ``rule``: None where no score can be compared.
    """
    scored = test is not None and rule is not None
    titles = ["<b>cost when off</b>, points", *([f"<b>{in_figures(rule.label, 26)}</b>"] if rule and scored else [])]
    drawing = Drawing.of_panels(titles, grid(len(titles), len(titles), 0.06))
    known = [one for one in parts if one.loss is not None]
    names = [_name(one.part) for one in known]
    colours = [colour_of(dial, one.part, dark) for one in known]
    losses = [100 * (one.loss or 0.0) for one in known]
    drawing.trace(
        "bar",
        x=losses,
        y=names,
        orientation="h",
        name="cost",
        marker={"color": colours},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [100 * ((one.high if one.high is not None else one.loss or 0) - (one.loss or 0)) for one in known],
            "arrayminus": [
                100 * ((one.loss or 0) - (one.low if one.low is not None else one.loss or 0)) for one in known
            ],
            "color": style.ink(dark),
            "thickness": 1.3,
            "width": 3,
        },
        customdata=[
            f"{_name(one.part)} off: {percent(one.value)} %<br>cost {change(one.loss)} ({span(one.low, one.high)})"
            for one in known
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )
    if scored and test is not None and rule is not None:
        of = dict(zip(test.parts, rule.scores, strict=True))
        values = [of.get(one.part) for one in known]
        drawing.trace(
            "bar",
            2,
            x=values,
            y=names,
            orientation="h",
            name="score",
            marker={"color": colours, "opacity": 0.6, "pattern": {"shape": _pattern(rule), "fillmode": "overlay"}},
            text=["" if value is None else f" {short(value)} " for value in values],
            textposition="outside",
            textfont={"color": style.ink(dark)},
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.4g}<extra></extra>",
        )
        top, bottom = max([0.0, *filter(None, values)]), min([0.0, *filter(None, values)])
        room = 0.35 * ((top - bottom) or 1.0)  # for the numbers beside the bars
        drawing.axis("x", 2, range=[bottom - room * (bottom < 0), top + room], nticks=4)
    drawing.axes("x", fixedrange=True, zeroline=True, zerolinecolor=style.ink(dark), zerolinewidth=1)
    drawing.axes("y", autorange="reversed", fixedrange=True, showgrid=False, type="category")
    return drawing.figure(dark, height=FRAME + ROW * max(2, len(known)), margin={"t": 34}, bargap=0.3)


def costs_over_scores(test: CausalTest, rule: Rule, dark: bool = False) -> go.Figure:
    """Draw each term in each layer: its score by a rule across, what it costs when it is switched off upward."""
    drawing = Drawing()
    for term in dict.fromkeys(part.term for part in test.parts):
        at = [number for number, part in enumerate(test.parts) if part.term == term]
        name = _name(Part(term))
        drawing.trace(
            "scatter",
            x=[rule.scores[number] for number in at],
            y=[100 * test.losses[number] for number in at],
            mode="markers",
            name=name,
            marker={
                "size": 11,
                "color": style.TERM_COLOURS[term or "v"],
                "line": {"color": style.ink(dark), "width": 0.8},
            },
            customdata=[f"{name}, layer {test.parts[number].layer}" for number in at],
            hovertemplate="%{customdata}: score %{x:.4g}, cost %{y:.2f} points<extra></extra>",
        )
    drawing.across(0, line={"color": style.ink(dark), "width": 1, "dash": "dot"}, opacity=0.6)
    drawing.axis("x", fixedrange=True, title={"text": in_figures(rule.label, 40), "standoff": 4})
    drawing.axis("y", fixedrange=True, title={"text": "cost when off, points", "standoff": 4})
    return drawing.figure(
        dark,
        height=HEIGHT,
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
    )


def _pattern(rule: Rule) -> str:
    """Pattern of the bars of an approach, as on all pages; rules that know no score have none."""
    form = style.approach_forms().get(rule.key)
    return "" if form is None else form.pattern


def _name(part: Part) -> str:
    return f"layer {part.layer}" if part.term is None else f"{TERMS[part.term].label} {style.symbol(part.term)}"
