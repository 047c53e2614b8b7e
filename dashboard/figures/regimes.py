"""Ranks or scores of the terms over regimes, approach by approach, with the metric beside it (paper, Fig. 1 and 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from beft_core.scores.approaches import APPROACHES
from beft_core.scores.regimes import Measured
from beft_core.terms import CANDIDATES
from dashboard.figures.parts import style
from dashboard.figures.parts.end_labels import End, name_ends
from dashboard.figures.parts.marks import draw_band

if TYPE_CHECKING:
    import pandas as pd

PANEL, TITLE, BETWEEN = 226, 34, 84
"""Heights in pixels: a panel, the titles on top, from a panel to the one below it."""

ALT = "Rank or score of each bias term over the number of training examples, by each approach, and the metric"
"""Description of the figure for those who cannot see it."""


def regimes(
    rows: pd.DataFrame,
    approaches: Sequence[str],
    metric: str,
    probes: Sequence[Measured],
    alone: Sequence[Measured],
    null: Sequence[str] = (),
    y: str = "rank",
    dark: bool = False,
) -> go.Figure:
    """Draw panels, two in a row: one per approach, and last the metric.

    ``rows``: of :func:`beft_core.scores.regimes.over_regimes`. ``y``: "rank" (1 on top, band from the best to the worst
    rank of a seed) or "score" (band of one standard deviation over seeds). The candidates are strong and named; a null
    term is dashed. The metric is that of the probes (all biases) and of fine-tunes of one candidate alone.
    """
    sizes = sorted({*rows["n_train"], *(m.n_train for m in (*probes, *alone))})
    panels = [f"<b>{APPROACHES[key].label}</b>" for key in approaches] + [f"<b>Metric: {metric}</b>"]
    down = -(-len(panels) // 2)
    height = TITLE + down * PANEL + (down - 1) * BETWEEN + 60
    inside = height - TITLE - 60
    figure = make_subplots(
        down, 2, subplot_titles=panels, horizontal_spacing=0.12, vertical_spacing=BETWEEN / inside if down > 1 else 0
    )
    for panel, key in enumerate(approaches):
        _draw_approach(figure, rows[rows["approach"] == key], sizes, null, y, dark, _place(panel))
    names = dict(zip(rows["n_train"], rows["regime"], strict=True))
    figure.update_xaxes(
        range=[-0.35, len(sizes) - 1 + 0.25 * len(sizes)],
        tickvals=list(range(len(sizes))),
        fixedrange=True,
        showgrid=False,
        ticktext=[f"{size:,}" + (f"<br>{names[size]}" if names.get(size) else "") for size in sizes],
    )
    figure.update_yaxes(fixedrange=True)
    _draw_metric(figure, sizes, probes, alone, dark, _place(len(approaches)))
    figure.update_annotations(selector={"yref": "paper"}, font_size=15)
    figure.update_layout(
        template=style.template(dark), height=height, margin={"t": TITLE, "b": 60}, hovermode="closest"
    )
    return figure


def _place(panel: int) -> dict[str, int]:
    return {"row": panel // 2 + 1, "col": panel % 2 + 1}


def _draw_approach(
    figure: go.Figure,
    rows: pd.DataFrame,
    sizes: Sequence[int],
    null: Sequence[str],
    y: str,
    dark: bool,
    place: dict[str, int],
) -> None:
    ends: dict[str, float] = {}
    for term in sorted(rows["term"].unique(), key=lambda term: (term in CANDIDATES, term)):
        line = rows[rows["term"] == term].sort_values("n_train")
        xs = [sizes.index(size) for size in line["n_train"]]
        if y == "rank":
            centre, low, high = line["rank"], line["rank_best"], line["rank_worst"]
        else:
            spread = line["std"].fillna(0)
            centre, low, high = line["mean"], line["mean"] - spread, line["mean"] + spread
        colour, strong = style.TERM_COLOURS[term], term in CANDIDATES
        if strong:
            _draw_band(figure, xs, list(low), list(high), list(line["seeds"]), colour, place)
        figure.add_scatter(
            x=xs,
            y=centre,
            mode="lines+markers",
            name=term,
            opacity=1 if strong else 0.45,
            line={"color": colour, "width": 3 if strong else 1.5, "dash": "dot" if term in null else "solid"},
            marker={"size": 10 if strong else 6, "symbol": "circle-open" if term in null else "circle"},
            error_y={
                "symmetric": False,
                "array": high - centre,
                "arrayminus": centre - low,
                "color": colour,
                "thickness": 1.5,
                "width": 5,
                "visible": strong,
            },
            customdata=[
                f"<b>{style.name_in_figures(term)}</b>, {row.n_train:,} examples"
                f"<br>rank {row.rank:g}, score {row.mean:.4g}"
                + (f" ± {row.std:.2g}" if row.seeds > 1 else "")
                + f"<br>{row.seeds} seed{'s' if row.seeds > 1 else ''}"
                + ("<br>null" if term in null else "")
                for row in line.itertuples(index=False)
            ],
            hovertemplate="%{customdata}<extra></extra>",
            cliponaxis=False,
            **place,
        )
        if strong and len(centre):
            ends[term] = float(centre.iloc[-1])
    count = rows["term"].nunique()
    top = max(float((rows["mean"] + rows["std"].fillna(0)).max()), 0.0) if len(rows) else 1.0
    axis: dict[str, Any] = (
        {"range": [count + 0.5, 0.5], "tickvals": list(range(1, count + 1)), "title": {"text": "rank", "standoff": 2}}
        if y == "rank"
        else {"range": [-0.04 * top, 1.1 * top or 1.0], "title": {"text": "score", "standoff": 2}}
    )
    figure.update_yaxes(**axis, **place)
    names = [
        End(
            len(sizes) - 1,
            value,
            f"<b>{style.symbol(term)}</b>" + (" null" if term in null else ""),
            style.term_ink(term, dark),
        )
        for term, value in ends.items()
    ]
    name_ends(figure, names, axis["range"], PANEL, size=13, place=place)


def _draw_band(
    figure: go.Figure,
    xs: Sequence[int],
    low: list[float],
    high: list[float],
    seeds: Sequence[int],
    colour: str,
    place: dict[str, int],
) -> None:
    """Draw the band between neighbours that both have several seeds: a single seed has no spread to show."""
    for at in range(len(xs) - 1):
        if min(seeds[at], seeds[at + 1]) > 1:
            pair = slice(at, at + 2)
            draw_band(figure, xs[pair], low[pair], high[pair], colour, place)


def _draw_metric(
    figure: go.Figure,
    sizes: Sequence[int],
    probes: Sequence[Measured],
    alone: Sequence[Measured],
    dark: bool,
    place: dict[str, int],
) -> None:
    ends: dict[str | None, float] = {}
    for term in (None, *CANDIDATES):
        known = [m for m in (*probes, *alone) if m.term == term]
        if not known:
            continue
        colour = style.ink(dark) if term is None else style.TERM_COLOURS[term]
        what = "all biases" if term is None else f"{style.symbol(term)} alone"
        figure.add_scatter(
            x=[sizes.index(m.n_train) for m in known],
            y=[m.mean for m in known],
            mode="lines+markers",
            name=f"metric {term or 'all'}",
            line={"color": colour, "width": 2 if term is None else 3},
            marker={
                "size": 10,
                "symbol": ["square" if term is None else "circle-open" if m.frozen else "circle" for m in known],
            },
            error_y={
                "symmetric": False,
                "array": [max(m.values) - m.mean for m in known],
                "arrayminus": [m.mean - min(m.values) for m in known],
                "color": colour,
                "thickness": 1.5,
                "width": 5,
            },
            customdata=[
                f"<b>{what}</b>, {m.n_train:,} examples: {m.mean:.4g}"
                f"<br>{len(m.values)} seed{'s' if len(m.values) > 1 else ''}"
                + ("<br>null, so it stayed frozen: this is what the head does alone" if m.frozen else "")
                for m in known
            ],
            hovertemplate="%{customdata}<extra></extra>",
            cliponaxis=False,
            **place,
        )
        ends[term] = known[-1].mean
    values = [value for m in (*probes, *alone) for value in m.values]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span = (high - low) or 1.0
    shown = low - 0.12 * span, high + 0.12 * span
    last = {m.term: sizes.index(m.n_train) for m in (*probes, *alone)}
    for side, terms in (("right", [t for t in ends if last[t] == len(sizes) - 1]), ("left", list(ends))):
        # Right of a line that goes to the end, left of one that stops before: there it would hide what goes on.
        here = {term: ends.pop(term) for term in terms if term in ends}
        names = [
            End(
                last[term],
                value,
                "all" if term is None else f"<b>{style.symbol(term)}</b>",
                style.ink(dark) if term is None else style.term_ink(term, dark),
            )
            for term, value in here.items()
        ]
        name_ends(figure, names, shown, PANEL, size=13, left=side == "left", place=place)
    figure.update_yaxes(range=shown, **place)
    figure.update_xaxes(range=[-0.35 - 0.2 * len(sizes), len(sizes) - 1 + 0.22 * len(sizes)], **place)
    if not values:
        figure.add_annotation(
            x=(len(sizes) - 1) / 2, y=0.5, text="<i>not measured in these snapshots</i>", showarrow=False, **place
        )
