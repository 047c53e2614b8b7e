"""Curves of the metric over learning rates and over epochs, one line per bias term (paper, section 3.4).

Rows come from :mod:`beft_core.reports.series`: metrics in percent, bands of one standard deviation over seeds.
"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from beft_core.terms import CANDIDATES
from dashboard.figures.parts import style
from dashboard.figures.parts.marks import draw_band

OTHERS: dict[str, str] = {"all": "all biases", "head": "head only"}
"""Fine-tunes besides those of the candidates, in the colour of the text: ``trains`` -> words."""
_DASHES = {"all": "dash", "head": "dot"}
PANEL, TITLE, FOOT, BETWEEN = 240, 34, 78, 74
"""Heights in pixels: a panel, the titles on top, axis and legend below, from a panel to the one below it."""
SLANTED = 22
"""Pixels that learning rates take more below an axis where a phone has no room for them side by side."""
MAX_DOTS = 20
"""Largest number of points that a curve marks with dots."""


def over_rates(metrics: pd.DataFrame, scores: pd.DataFrame, metric: str, label: str, dark: bool = False) -> go.Figure:
    """Draw left the metric of each term alone and of all biases, right the scores of the terms in the probe.

    ``metrics`` and ``scores``: trains (a term, or all), lr, value, std, seeds. ``label``: what the scores are called.
    """
    figure = make_subplots(1, 2, subplot_titles=[f"<b>{metric}, %</b>", f"<b>{label}</b>"], horizontal_spacing=0.1)
    rates = sorted({*metrics["lr"], *scores["lr"]})
    for col, (rows, what) in enumerate(((metrics, metric), (scores, label)), 1):
        _draw_lines(figure, rows, "lr", what, dark, {"row": 1, "col": col})
    figure.update_xaxes(
        type="log",
        tickvals=rates,
        ticktext=[f"{lr:g}" for lr in rates],
        fixedrange=True,
        title={"text": "learning rate", "standoff": 4},
    )
    return _laid_out(figure, 1, dark, room=SLANTED)


def over_epochs(rows: pd.DataFrame, metric: str, dark: bool = False) -> go.Figure:
    """Draw the metric after each epoch: a panel per learning rate, two in a row, on one scale.

    ``rows``: trains, lr, epoch, value, std, seeds.
    """
    rows = rows[rows["trains"].isin([*OTHERS, *CANDIDATES])]  # what else was trained had rates of its own
    rates = sorted(set(rows["lr"]))
    down = max(1, -(-len(rates) // 2))
    inside = down * PANEL + (down - 1) * BETWEEN
    figure = make_subplots(
        down,
        2,
        subplot_titles=[f"<b>learning rate {lr:g}</b>" for lr in rates],
        horizontal_spacing=0.1,
        shared_yaxes="all",
        vertical_spacing=BETWEEN / inside if down > 1 else 0,
    )
    for number, lr in enumerate(rates):
        place = {"row": number // 2 + 1, "col": number % 2 + 1}
        _draw_lines(figure, rows[rows["lr"] == lr], "epoch", metric, dark, place)
        figure.update_xaxes(title={"text": "epoch", "standoff": 4}, fixedrange=True, **place)
        if number % 2 == 0:
            figure.update_yaxes(title={"text": f"{metric}, %", "standoff": 4}, **place)
    if len(rates) % 2:  # the place beside the last panel stays empty
        figure.update_xaxes(visible=False, row=down, col=2)
        figure.update_yaxes(visible=False, row=down, col=2)
    return _laid_out(figure, down, dark)


def _draw_lines(figure: go.Figure, rows: pd.DataFrame, x: str, what: str, dark: bool, place: dict[str, int]) -> None:
    """Draw a line per term with a band over its seeds, those of all biases and of the head dashed."""
    for key in (*OTHERS, *CANDIDATES):
        own = rows[(rows["trains"] == key) & rows["value"].notna()].sort_values(x)
        if own.empty:
            continue
        alone = key in CANDIDATES
        colour = style.TERM_COLOURS[key] if alone else style.ink(dark)
        name = style.name_in_figures(key) if alone else OTHERS[key]
        spread = own["std"].fillna(0)
        if (spread > 0).any():
            low, high = own["value"] - spread, own["value"] + spread
            draw_band(figure, list(own[x]), list(low), list(high), colour, place)
        figure.add_scatter(
            x=own[x],
            y=own["value"],
            mode="lines+markers" if len(own) <= MAX_DOTS else "lines",
            name=name,
            legendgroup=key,
            cliponaxis=False,
            showlegend=not any(trace.legendgroup == key for trace in figure.data),  # once, in whatever panel
            line={"color": colour, "width": 3 if alone else 1.5, "dash": _DASHES.get(key, "solid")},
            marker={"size": 8 if alone else 6, "symbol": "circle" if alone else "square"},
            customdata=[
                f"<b>{name}</b>, {x.replace('lr', 'learning rate')} {at:g}: {what} {value:.4g}"
                + (f" ± {std:.2g}" if seeds > 1 else "")
                + f"<br>{seeds} seed{'s' * (seeds > 1)}"
                for at, value, std, seeds in zip(own[x], own["value"], own["std"], own["seeds"], strict=True)
            ],
            hovertemplate="%{customdata}<extra></extra>",
            **place,
        )


def _laid_out(figure: go.Figure, down: int, dark: bool, room: int = 0) -> go.Figure:
    """Lay panels out, ``down`` below each other, with the legend below them, ``room`` pixels farther than usual."""
    foot = FOOT + room
    height = TITLE + down * PANEL + (down - 1) * BETWEEN + foot
    figure.update_yaxes(fixedrange=True)
    figure.update_annotations(selector={"yref": "paper"}, font_size=14)
    figure.update_layout(
        template=style.template(dark),
        height=height,
        margin={"t": TITLE, "b": foot},
        hovermode="closest",
        showlegend=True,
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": -(46 + room) / (height - TITLE - foot),
            "yanchor": "top",
        },
    )
    return figure
