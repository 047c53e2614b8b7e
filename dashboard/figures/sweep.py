"""Results of a sweep so far: the metric of everything that was trained, at every learning rate, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from beft_core.sweeps.importance import Importance
from beft_core.tasks.metrics import chance, metric_in_words
from beft_core.tasks.registry import TASKS
from beft_core.terms import TERMS
from dashboard.figures.parts import style
from dashboard.figures.parts.drawing import Drawing, grid
from dashboard.figures.parts.labels import as_written, in_figures, trained_in_words

if TYPE_CHECKING:
    import pandas as pd

MAX_PANELS = 8
"""Largest number of panels; more would be a page of their own."""
MAX_SEEDS = 10
"""Most seeds of one fine-tune that are drawn as dots; means are over all."""
TITLE, PLOT, FOOT = 54, 190, 58
"""Heights in pixels of a panel's parts: its title and the names below it, the dots, learning rates and the gap to the
next panel.
"""
LEAST = 10.0
"""Least span of the y axis of a panel, in percentage points."""
NARROW, LINE = 560, 14
"""Pixels: width of the plot in the narrowest window that is looked at, and of a learning rate that stands upright, as
plotly turns them where they are crowded.
"""
_GAP, _BESIDE = 0.7, 0.12
"""Distances, in steps from a learning rate to the next: between two kinds of fine-tunes, from a seed to the next."""


def by_term_and_rate(rows: pd.DataFrame, dark: bool = False, most: int = MAX_PANELS) -> go.Figure:
    """Draw a panel per task and number of examples that has a value; at most ``most``.

    ``rows``: one per fine-tune of the grid with task, size (training examples in words), trains, lr, seed, metric and
    value (a fraction; NaN: not finished, or failed). Every fine-tune has its place from the start, so that nothing
    moves when others finish. A dot is a seed (the first :data:`MAX_SEEDS`), a line the mean over all seeds.
    """
    panels = [(key, part) for key, part in rows.groupby(["task", "size"], sort=False) if part["value"].notna().any()]
    panels = panels[:most]
    down = max(1, len(panels))
    height = down * (TITLE + PLOT + FOOT)
    boxes = grid(down, 1, gap_y=(TITLE + FOOT) / (height - TITLE - FOOT) if down > 1 else 0)
    drawing = Drawing.of_panels([""] * down, boxes, shared=False)
    for panel, ((task, size), part) in enumerate(panels, 1):
        metric = metric_in_words(str(part["metric"].dropna().iloc[0]))
        _draw(drawing, part, metric, panel, dark)
        title = f"<b>{as_written(task)}, {size}: {metric}, %</b>"
        corner = {"x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "yshift": 24}
        drawing.words(title, panel, within="xy", font={"size": 14}, **corner)
        guess = _scale(drawing, part, str(task), panel)
        if guess is not None:
            drawing.across(guess, panel, name="chance", line={"color": style.ink(dark), "width": 1, "dash": "dot"})
            below = {"x": 1, "xanchor": "right", "y": guess, "yanchor": "top"}
            drawing.words("chance", panel, within="x", font={"size": 12}, **below)
    drawing.axes("y", fixedrange=True)
    return drawing.figure(dark, height=height, margin={"t": TITLE, "b": FOOT}, hovermode="closest")


def _draw(drawing: Drawing, rows: pd.DataFrame, metric: str, panel: int, dark: bool) -> None:
    """Draw the dots, means and names of one panel. Learning rates stand side by side, those of one thing that is
    trained together.
    """
    ticks: list[dict[float, str]] = []
    at = 0.0
    for trains, own in rows.groupby("trains", sort=False):
        rates = sorted(set(own["lr"]))
        where = {lr: at + step for step, lr in enumerate(rates)}
        at += len(rates) + _GAP
        ticks.append({where[lr]: f"{lr:g}" for lr in rates})
        colour, name = colour_of(str(trains), dark), name_of(str(trains))
        seeds = sorted(set(own["seed"]))[:MAX_SEEDS]
        beside = min(_BESIDE, 0.5 / len(seeds))
        finished = own[own["value"].notna()]
        done = finished.loc[finished["seed"].isin(seeds), ["lr", "seed", "value"]]
        drawing.trace(
            "scatter",
            panel,
            x=[where[row.lr] + beside * (seeds.index(row.seed) - (len(seeds) - 1) / 2) for row in done.itertuples()],
            y=100 * done["value"],
            mode="markers",
            name=str(trains),
            cliponaxis=False,
            marker={"color": colour, "size": 9, "opacity": 0.75},
            customdata=[
                f"<b>{name}</b>, learning rate {row.lr:g}, seed {row.seed}<br>{metric} {100 * row.value:.1f} %"
                for row in done.itertuples()
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )
        means = finished.groupby("lr")["value"].mean()
        drawing.trace(
            "scatter",
            panel,
            x=[where[lr] for lr in means.index],
            y=100 * means,
            mode="markers",
            name=f"mean {trains}",
            hoverinfo="skip",
            marker={"symbol": "line-ew", "size": 14, "line": {"color": colour, "width": 3}},
            cliponaxis=False,
        )
        above = {"x": (where[rates[0]] + where[rates[-1]]) / 2, "y": 1, "yanchor": "bottom", "yshift": 2}
        font = {"color": style.readable(colour, dark), "size": 14}
        drawing.words(f"<b>{name}</b>", panel, within="y", name=str(trains), font=font, **above)
    span = [-0.7, at - _GAP - 0.3]
    written = _room_for(ticks, span[1] - span[0])
    look = {"tickvals": list(written), "ticktext": list(written.values())}
    drawing.axis("x", panel, range=span, **look, fixedrange=True, showgrid=False)


def _room_for(ticks: Sequence[Mapping[float, str]], span: float) -> dict[float, str]:
    """Choose the learning rates that are written: all, or every second, third, ... of each kind of fine-tune, so that
    none runs into the next in a narrow window. ``ticks``: place -> words, of each kind; ``span``: of the axis.
    """
    apart = LINE * span / NARROW
    every = max(1, math.ceil(apart))
    written: dict[float, str] = {}
    end = math.inf
    for own in reversed(ticks):
        places = [*own][::every]
        written |= {place: own[place] for place in places if place == places[0] or end - place >= apart}
        end = places[0]
    return dict(sorted(written.items()))


def _scale(drawing: Drawing, rows: pd.DataFrame, task: str, panel: int) -> float | None:
    """Scale the y axis, and return chance in percent where there is one: it is on the axis, and differences below
    :data:`LEAST` points look as small as they are.
    """
    values = 100 * rows["value"].dropna()
    spec = TASKS.get(task)
    guess = chance(str(rows["metric"].dropna().iloc[0]), spec.target.classes if spec else None)
    low, high = float(values.min()), float(values.max())
    if guess is not None:
        low, high = min(low, 100 * guess), max(high, 100 * guess)
    more = max(0.0, LEAST - (high - low)) / 2 + 0.06 * max(high - low, LEAST)
    drawing.axis("y", panel, range=[low - more, high + more])
    return None if guess is None else 100 * guess


def name_of(trains: str) -> str:
    """Write what a fine-tune trains, for plotly: symbols of bias terms, the names of other methods."""
    terms = trains.split("+")
    return " + ".join(map(style.symbol, terms)) if set(terms) <= set(TERMS) else in_figures(trained_in_words(trains))


def colour_of(trains: str, dark: bool) -> str:
    """Colour of the bias term that is trained alone; of several, and of everything else, that of the text."""
    return style.TERM_COLOURS.get(trains, style.ink(dark))


_SETTING_WORDS = {
    "n_train": "examples",
    "trains": "what is trained",
    "lr": "learning rate",
    "adam_epsilon": "Adam's epsilon",
    "adam_epsilon_at": "where epsilon is added",
    "batch_size": "batch size",
}


def setting_in_words(name: str) -> str:
    """Name a setting of a sweep in words."""
    return _SETTING_WORDS.get(name, name.replace("_", " "))


def by_setting(found: Sequence[Importance], dark: bool = False) -> go.Figure:
    """Draw a bar per setting of one task, as long as the share of the variance that it explains, in percent; a mark
    at the share that a setting without any effect has by chance.
    """
    rows = [setting_in_words(one.setting) for one in found][::-1]
    shares = [100 * one.share for one in found][::-1]
    chances = [100 * one.by_chance for one in found][::-1]
    drawing = Drawing()
    drawing.trace(
        "bar",
        x=shares,
        y=rows,
        orientation="h",
        marker={"color": style.shade(style.neutral(dark), 1, dark)},
        customdata=[one.levels for one in found][::-1],
        hovertemplate="%{y}: %{x:.1f} % of the variance, %{customdata} values<extra></extra>",
    )
    drawing.trace(
        "scatter",
        x=chances,
        y=rows,
        mode="markers",
        marker={"symbol": "line-ns", "size": 20, "line": {"width": 2, "color": style.ink(dark)}},
        hovertemplate="%{y}: %{x:.1f} % by chance alone<extra></extra>",
    )
    drawing.trace(  # beyond bar and mark
        "scatter",
        x=[max(pair) for pair in zip(shares, chances, strict=True)],
        y=rows,
        mode="text",
        text=[f" {share:.0f} %" for share in shares],
        textposition="middle right",
        cliponaxis=False,
        hoverinfo="skip",
    )
    ticks = [0, 25, 50, 75, 100]
    drawing.axis("x", range=[0, 112], tickvals=ticks, ticktext=[f"{at} %" for at in ticks], fixedrange=True)
    drawing.axis("y", fixedrange=True)
    return drawing.figure(dark, height=34 * len(rows) + 44, bargap=0.4)
