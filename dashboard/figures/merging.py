"""Figures of merging: angles between fine-tunes, what a merge keeps of each, and what it is worth on their tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from beft_core.merging.preview import Preview
from beft_core.merging.result import BASE, MERGED, MergeResult
from beft_core.snapshots.snapshot import Key
from beft_core.tasks.metrics import metric_in_words
from dashboard.figures.parts import style
from dashboard.figures.parts.drawing import Drawing, grid
from dashboard.figures.parts.labels import as_written, in_figures, in_templates

OPPOSITE, ALIGNED = style.DIVERGING
"""Colours at the ends of the scale of angles; its middle, 90 degrees, has the colour of an empty cell."""
DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot", "2px,6px", "8px,2px,2px,2px,2px,2px", "14px,4px")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star", "hexagon")
"""Forms of the sources, in their order: colours belong to bias terms."""
PANEL, LENGTHS = 300, 220
"""Heights in pixels of a panel, and of the lengths of all layers."""
MAX_COLUMNS = 3
MAX_CHARACTERS = 40


def angle_matrix(labels: Sequence[str], values: np.ndarray, dark: bool = False, percent: bool = False) -> go.Figure:
    """Draw [tasks, tasks]: angles in degrees, or with ``percent`` shares from 0 to 1. The diagonal stays empty."""
    count = len(labels)
    shown = [[None if a == b else float(values[a, b]) for b in range(count)] for a in range(count)]
    text = [["" if a == b else _cell(values[a, b], percent) for b in range(count)] for a in range(count)]
    middle = 0.5 if percent else 90.0
    figure = go.Figure(
        go.Heatmap(
            z=shown,
            x=list(range(count)),
            y=list(range(count)),
            text=text,
            texttemplate="%{text}",
            xgap=3,
            ygap=3,
            textfont={"size": 16 if count < 5 else 12},
            zmin=0,
            zmax=2 * middle,
            showscale=False,
            colorscale=[[0, ALIGNED], [0.5, style.void(dark)], [1, OPPOSITE]],
            customdata=[[f"{_short(a)} and {_short(b)}" for b in labels] for a in labels],
            hovertemplate="%{customdata}: %{text}<extra></extra>",
        )
    )
    ticks = {"tickvals": list(range(count)), "showgrid": False, "fixedrange": True}
    figure.update_xaxes(ticktext=[_wrapped(label) for label in labels], **ticks)
    figure.update_yaxes(ticktext=[f"{_wrapped(label)} " for label in labels], range=[count - 0.5, -0.5], **ticks)
    figure.update_layout(template=style.template(dark), height=max(220, 60 * count + 60))
    return figure


def layer_lines(values: Mapping[Key, np.ndarray], dark: bool = False, percent: bool = False) -> go.Figure:
    """Draw (stack, term) -> [layers], angles or shares of one pair of tasks, one line per term in its colour."""
    figure = go.Figure()
    unrelated = 50.0 if percent else 90.0
    unit = " %" if percent else "°"
    highest = unrelated
    several = len({stack for stack, _ in values}) > 1
    for (stack, term), line in values.items():
        y = np.asarray(line, dtype=float) * (100 if percent else 1)
        highest = max(highest, float(y.max()))
        name = style.symbol(term) + (f", {stack}" if several else "")
        figure.add_scatter(
            x=list(range(len(y))),
            y=y.tolist(),
            mode="lines+markers",
            name=name,
            line={"color": style.TERM_COLOURS[term], "width": 2, "dash": "dot" if stack == "decoder" else "solid"},
            marker={"size": 7},
            hovertemplate=f"{name}, layer %{{x}}: %{{y:.1f}}{unit}<extra></extra>",
        )
    figure.add_hline(
        y=unrelated,
        line={"color": style.ink(dark), "width": 1, "dash": "dash"},
        opacity=0.6,
        annotation={"text": f"unrelated: {unrelated:.0f}{unit}", "font": {"size": 12}, "yanchor": "top"},
        annotation_position="bottom right",
    )
    layers = max((len(line) for line in values.values()), default=1)
    figure.update_xaxes(**_layers(layers))
    figure.update_yaxes(range=[0, highest * 1.2], ticksuffix=unit, fixedrange=True)
    figure.update_layout(template=style.template(dark), height=260, showlegend=len(values) > 1, legend=_LEGEND)
    return figure


def preview_lengths(labels: Sequence[str], preview: Preview, key: Key, dark: bool = False) -> go.Figure:
    """Draw how long the change of a term is in each layer: sources as broken lines, the merge as a thick one."""
    *sources, merged = preview.lengths[key]
    figure = go.Figure()
    for at, (label, line) in enumerate(zip(map(_short, labels), sources, strict=True)):
        figure.add_scatter(
            x=list(range(len(line))),
            y=line.tolist(),
            mode="lines+markers",
            name=label,
            line={"color": style.ink(dark), "width": 1.4, "dash": DASHES[at % len(DASHES)]},
            marker={"symbol": SYMBOLS[at % len(SYMBOLS)], "size": 7},
            opacity=0.75,
            hovertemplate=f"{label}, layer %{{x}}: %{{y:.4g}}<extra></extra>",
        )
    figure.add_scatter(
        x=list(range(len(merged))),
        y=merged.tolist(),
        mode="lines+markers",
        name="<b>merged</b>",
        line={"color": style.TERM_COLOURS[key[1]], "width": 4},
        marker={"size": 9},
        hovertemplate="merged, layer %{x}: %{y:.4g}<extra></extra>",
    )
    figure.update_xaxes(**_layers(len(merged)))
    # The scale is the sources' own, so that a slider moves the merge and not the axis.
    figure.update_yaxes(
        range=[0, max(*(float(line.max()) for line in sources), float(merged.max()), 1e-12) * 1.08], fixedrange=True
    )
    figure.update_layout(template=style.template(dark), height=LENGTHS, showlegend=True, legend=_LEGEND)
    return figure


def preview_cosines(labels: Sequence[str], preview: Preview, colour: str, dark: bool = False) -> go.Figure:
    """Draw how much the merge points the way of each source: its cosine, with the angle in words."""
    cosines = np.clip(preview.cosine, -1, 1)
    figure = go.Figure(
        go.Bar(
            x=cosines.tolist(),
            y=[f"{_wrapped(label)} " for label in labels],
            orientation="h",
            marker={"color": colour},
            cliponaxis=False,
            textposition="outside",
            textangle=0,
            text=[f" {c:.2f} ({math.degrees(math.acos(c)):.0f}°)" for c in cosines],
            customdata=[f"{_short(label)}: cosine {c:.4f}" for label, c in zip(labels, cosines, strict=True)],
            hovertemplate="%{customdata}<extra></extra>",
        )
    )
    figure.update_xaxes(
        range=[min(0.0, float(cosines.min()) - 0.35), 1.35],
        tickvals=[-1, -0.5, 0, 0.5, 1],
        fixedrange=True,
        title={"text": "cosine with the merge", "standoff": 4, "font": {"size": 12}},
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, fixedrange=True)
    figure.update_layout(template=style.template(dark), height=40 * len(labels) + 60, bargap=0.35)
    return figure


def along_the_line(result: MergeResult, sources: Sequence[str], colour: str, dark: bool = False) -> go.Figure:
    """Draw one panel per task: its metric in % along the parameter of the merge, the merge itself marked.

    ``sources``: rows of the result that are fine-tunes, drawn as dashed levels; the base model is dotted.
    """
    tasks, parameter = list(result.tasks), _short(result.parameter or "")
    columns = min(len(tasks), MAX_COLUMNS)
    rows = math.ceil(len(tasks) / columns)
    titles = [f"<b>{_short(task)}</b>: {metric_in_words(result.tasks[task].metric)}, %" for task in tasks]
    drawing = Drawing.of_panels(titles, grid(len(tasks), columns, 0.09, 0.28 / rows), shared=False)
    for panel, task in enumerate(tasks, 1):
        _draw_levels(drawing, panel, result, task, [BASE, *sources], dark)
        points = [(x, result.value(scores, task)) for x, scores in result.line]
        drawing.trace(
            "scatter",
            panel,
            x=[x for x, _ in points],
            y=[_percent(value) for _, value in points],
            mode="lines+markers",
            line={"color": colour, "width": 2.5},
            marker={"size": 6},
            name="merged",
            hovertemplate=f"{parameter} %{{x:.3g}}: %{{y:.1f}} %<extra></extra>",
        )
        value = _percent(result.value(result.rows[MERGED], task))
        if result.position is not None and value is not None:
            drawing.trace(
                "scatter",
                panel,
                x=[result.position],
                y=[value],
                mode="markers+text",
                text=[f"<b>{value:.1f}</b>"],
                name="current",
                textposition="top center",
                cliponaxis=False,
                marker={"size": 14, "color": colour, "line": {"color": style.ink(dark), "width": 2}},
                hovertemplate=f"the merge, {parameter} %{{x:.3g}}: %{{y:.1f}} %<extra></extra>",
            )
    positions = [x for x, _ in result.line]
    low, high = min(positions), max(positions)
    margin = 0.04 * (high - low)
    title = {"text": parameter, "standoff": 4, "font": {"size": 12}}
    drawing.axes("x", range=[low - margin, high + margin], fixedrange=True, title=title)
    drawing.axes("y", fixedrange=True)
    return drawing.figure(dark, height=PANEL * rows + 20, margin={"t": 36})


def band_colours(bands: int = 10) -> list[str]:
    """Colours of bands of a metric from the lowest to the highest, on the scale of scores."""
    return list(sample_colorscale(style.SCALE, [at / (bands - 1) for at in range(bands)]))


def _draw_levels(drawing: Drawing, panel: int, result: MergeResult, task: str, rows: Sequence[str], dark: bool) -> None:
    """Draw a level for each row that is no merge; names stand at its right end, of two close levels the lower
    name below, and a third at the left."""
    levels = [(value, row) for row in rows if (value := _percent(result.value(result.rows[row], task))) is not None]
    span = [v for v in (_percent(result.value(s, task)) for _, s in result.line) if v is not None]
    span += [value for value, _ in levels]
    if not span:
        return
    low, high = min(span), max(span)
    pad = max(high - low, 1.0)
    drawing.axis("y", panel, range=[low - 0.16 * pad, high + 0.2 * pad])
    ends = [result.line[0][0], result.line[-1][0]]
    for value, row in levels:
        drawing.trace(
            "scatter",
            panel,
            x=ends,
            y=[value, value],
            mode="lines",
            opacity=0.8,
            name=_short(row),
            line={"color": style.ink(dark), "width": 1.3, "dash": "dot" if row == BASE else "dash"},
            hovertemplate=f"{in_templates(as_written(row), MAX_CHARACTERS)}: %{{y:.1f}} %<extra></extra>",
        )
    taken: list[float] = []
    for value, row in sorted(levels, reverse=True):
        close = sum(abs(value - other) < 0.09 * pad for other in taken)
        taken.append(value)
        drawing.words(
            _short(row),
            panel,
            x=ends[close < 2],
            y=value,
            font={"size": 13},
            xanchor="right" if close < 2 else "left",
            yanchor="top" if close else "bottom",
        )


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _cell(value: float, percent: bool) -> str:
    return f"{100 * value:.0f} %" if percent else f"{value:.1f}°"


def _short(label: str) -> str:
    return in_figures(as_written(label), MAX_CHARACTERS)


def _wrapped(label: str) -> str:
    """Write a name with its seed on a line of its own."""
    return _short(label).replace(", ", ",<br>")


def _layers(count: int) -> dict[str, object]:
    return {
        "tickvals": list(range(0, count, max(1, count // 8))),
        "range": [-0.2, count - 0.8],
        "fixedrange": True,
        "showgrid": False,
        "title": {"text": "layer", "standoff": 2, "font": {"size": 12}},
    }


_LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}}
