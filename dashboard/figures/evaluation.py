"""Figures on whether scores predict performance: rules with their intervals, when probes settle, scores beside metrics.

Curves over learning rates and epochs are in :mod:`dashboard.figures.curves.rates`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from beft_core.reports.selection.rules import ALWAYS_V, FIXED_ORDER, ORACLE, RANDOM, RULES, SMALLEST_NORM
from beft_core.scores.approaches import APPROACHES
from beft_core.terms import CANDIDATES, TERMS
from dashboard.figures.parts import style
from dashboard.figures.parts.numbers import ticks


@dataclass(frozen=True)
class Mark:
    """Look of a rule: that of an approach is its form, a rule that always names one term has the term's colour."""

    term: str | None = None
    symbol: str = "circle"
    dash: str = "solid"

    def colour(self, dark: bool) -> str:
        """Colour of the rule's term, or of the text."""
        return style.TERM_COLOURS[self.term] if self.term else style.ink(dark)


RULE_MARKS: dict[str, Mark] = {
    **{key: Mark(symbol=form.symbol, dash=form.dash) for key, form in style.approach_forms().items() if key in RULES},
    FIXED_ORDER: Mark("v", "diamond-open"),
    ALWAYS_V: Mark("v", "diamond"),
    SMALLEST_NORM: Mark(symbol="hourglass"),
    ORACLE: Mark(symbol="star"),
    RANDOM: Mark(symbol="x-thin-open"),
}


@dataclass(frozen=True)
class Measure:
    """Way to judge a rule."""

    key: str
    """Column of the mean in the summary."""
    short: str
    """Beginning of the names of the columns of its interval."""
    label: str
    axis: str
    """Title of the axis: what it shows, and which side is the better one."""
    ticks: tuple[float, ...] = ()
    """Places of the numbers on the axis; empty: wherever they fit."""
    factor: float = 1.0
    digits: int = 2


MEASURES: dict[str, Measure] = {
    measure.key: measure
    for measure in (
        Measure("regret", "regret", "Points lost", "points lost (less is better)"),
        Measure("hit_rate", "hit", "Hit rate", "hits, % (more is better)", (0, 25, 50, 75, 100), 100, 0),
        Measure("tau", "tau", "Order of the three", "Kendall's tau (more is better)", (-1, -0.5, 0, 0.5, 1)),
    )
}

_ROW, _TITLE, _FOOT, _BETWEEN = 26, 34, 34, 66
"""Heights in pixels: a rule, the title of a panel, the axis below, from a panel to the one below it."""
_ROOM = 0.32
"""Share of the first panel, on its right, that has the numbers in words."""


def rule_dots(rows: pd.DataFrame, measure: str, dark: bool = False) -> go.Figure:
    """Draw a dot with its 95 % interval per rule; the first panel is as wide as the figure, the others two in a row.

    ``rows``: panel (its title), rule, n, and the three columns of the measure, as in
    :func:`beft_core.reports.selection.prediction.summary`; ``shared`` (optional): labels of rules that share the row. A
    rule without a value has no dot.
    """
    rows = rows if "shared" in rows else rows.assign(shared="")
    what = MEASURES[measure]
    panels = list(dict.fromkeys(rows["panel"]))
    rules = [rule for rule in RULES if rule in set(rows.loc[rows[what.key].notna(), "rule"])]
    down = 1 + -(-(len(panels) - 1) // 2)
    tall = _ROW * max(len(rules), 1)
    height = _TITLE + down * tall + (down - 1) * _BETWEEN + _FOOT
    inside = height - _TITLE - _FOOT
    figure = make_subplots(
        down,
        2,
        specs=[[{"colspan": 2}, None], *[[{}, {}]] * (down - 1)],
        shared_yaxes=True,
        subplot_titles=[f"<b>{title}</b>{'' if at else f': {what.axis}'}" for at, title in enumerate(panels)],
        horizontal_spacing=0.06,
        vertical_spacing=_BETWEEN / inside if down > 1 else 0,
    )
    low, high = _range(rows, what)
    shared = dict(zip(rows["rule"], rows["shared"], strict=True))
    for number, title in enumerate(panels):
        place = {"row": 1, "col": 1} if number == 0 else {"row": 2 + (number - 1) // 2, "col": 1 + (number - 1) % 2}
        here = rows[(rows["panel"] == title) & rows["rule"].isin(rules)]
        _draw_rules(figure, here, rules, what, number == 0, dark, place)
        room = (high - low) * _ROOM / (1 - _ROOM) if number == 0 else 0
        figure.update_xaxes(
            range=[low, high + room], tickvals=what.ticks or ticks(0, high, 5), fixedrange=True, **place
        )
        figure.update_yaxes(
            range=[len(rules) - 0.4, -0.6],
            tickvals=list(range(len(rules))),
            fixedrange=True,
            showgrid=False,
            ticktext=[f"{_rule_label(rule)}{_more(shared[rule])} " for rule in rules],
            **place,
        )
    figure.update_annotations(selector={"yref": "paper"}, font_size=14)
    figure.update_layout(
        template=style.template(dark), height=height, margin={"t": _TITLE, "b": _FOOT}, hovermode="closest"
    )
    return figure


def _draw_rules(
    figure: go.Figure,
    rows: pd.DataFrame,
    rules: list[str],
    what: Measure,
    wide: bool,
    dark: bool,
    place: dict[str, int],
) -> None:
    for row in rows.to_dict("records"):
        mean, low, high = (what.factor * row[name] for name in (what.key, f"{what.short}_low", f"{what.short}_high"))
        if np.isnan(mean):
            continue
        mark, known = RULE_MARKS[row["rule"]], not np.isnan(low)
        first, *ends = (f"{value:.{what.digits}f}" for value in (mean, low, high))
        interval = " to ".join(ends) if known else "one group: no interval"
        if wide:
            figure.add_annotation(
                x=1,
                xref="x domain",
                y=rules.index(row["rule"]),
                yref="y",
                xanchor="right",
                showarrow=False,
                text=f"<b>{first}</b>  {interval}",
                font={"size": 12},
                name="number",
            )
        figure.add_scatter(
            x=[mean],
            y=[rules.index(row["rule"])],
            mode="markers",
            name=row["rule"],
            marker={"color": mark.colour(dark), "symbol": mark.symbol, "size": 11, "line": {"width": 2.5}},
            error_x={
                "symmetric": False,
                "array": [high - mean if known else 0],
                "arrayminus": [mean - low if known else 0],
                "color": mark.colour(dark),
                "thickness": 2,
                "width": 5,
                "visible": known,
            },
            cliponaxis=False,
            customdata=[
                f"<b>{_rule_label(row['rule'])}</b>: {mean:.2f}<br>95 % interval: {interval}<br>{row['n']} cases"
                + "".join(f"<br>also: {_subscripts(label)}" for label in filter(None, row["shared"].split("; ")))
            ],
            hovertemplate="%{customdata}<extra></extra>",
            **place,
        )


def _range(rows: pd.DataFrame, what: Measure) -> tuple[float, float]:
    """Compute the range of the axis, the same for all panels, so that they can be compared."""
    if what.key == "hit_rate":
        return -4, 106
    if what.key == "tau":
        return -1.08, 1.08
    ends = rows[[what.key, f"{what.short}_high"]].to_numpy(float)
    top = float(np.nanmax(ends)) if (~np.isnan(ends)).any() else 0.0
    return -0.04 * (top or 1.0), 1.08 * (top or 1.0)


def _rule_label(rule: str) -> str:
    return _subscripts(RULES[rule].label)


def _more(shared: str) -> str:
    return f" (+ {len(shared.split('; '))})" if shared else ""


def _subscripts(text: str) -> str:
    for term in CANDIDATES:
        text = text.replace(TERMS[term].symbol, style.symbol(term))
    return text


# --- when probes settle --------------------------------------------------------------------------------------------

_PLOT, _LEGEND_ROW = 250, 21


def settling_curves(shares: pd.DataFrame, dark: bool = False) -> go.Figure:
    """Draw how many probes had settled on their selection after each fraction of their steps, by each approach.

    ``shares``: approach and share (0 to 1), one row per probe, of ``prediction.settled_shares``.
    """
    figure = go.Figure()
    drawn = [key for key in APPROACHES if key in set(shares["approach"])]
    for place, key in enumerate(drawn):
        own = np.sort(shares.loc[shares["approach"] == key, "share"].to_numpy(float))
        mark = RULE_MARKS[key]
        median, slow = np.quantile(own, [0.5, 0.9])
        figure.add_scatter(
            x=[0, *(100 * own), 100],
            y=[0, *(100 * np.arange(1, len(own) + 1) / len(own)), 100],
            mode="lines",
            name=f"{APPROACHES[key].label}: half by {100 * median:.0f} %, nine of ten by {100 * slow:.0f} %",
            # The first lines are the widest, so that those which lie on each other stay visible.
            line={
                "color": mark.colour(dark),
                "dash": mark.dash,
                "width": 2 + 0.8 * (len(drawn) - place),
                "shape": "hv",
            },
            hovertemplate=f"{APPROACHES[key].label}: %{{y:.0f}} % of {len(own)} probes settled after %{{x:.0f}} % of "
            "their steps<extra></extra>",
        )
    below = _LEGEND_ROW * len(drawn)
    figure.update_xaxes(
        title={"text": "share of the probe's steps, %", "standoff": 4}, range=[-2, 101], fixedrange=True
    )
    figure.update_yaxes(title={"text": "probes settled, %", "standoff": 6}, range=[-3, 105], fixedrange=True)
    figure.update_layout(
        template=style.template(dark),
        height=_PLOT + below,
        showlegend=True,
        margin={"b": below + 58, "t": 8},
        legend={"orientation": "v", "x": 0, "xanchor": "left", "y": -56 / (_PLOT - 66), "yanchor": "top"},
    )
    return figure


# --- scores beside metrics -----------------------------------------------------------------------------------------


def score_and_metric(rows: pd.DataFrame, approach: str, metric: str, dark: bool = False) -> go.Figure:
    """Draw a term's score in the probe against the metric (percent) of that term alone, over learning rates and seeds.

    ``rows``: of ``pairing.pairs``, of one task and regime. Small dots are seeds; the line goes through the means
    over seeds from the smallest learning rate, which is named, to the largest.
    """
    figure = go.Figure()
    for term in CANDIDATES:
        rate = rows["term_lr"].where(rows["term_lr"].notna(), rows[f"lr.{term}"])
        own = pd.DataFrame({"score": rows[f"{approach}.{term}"], "value": 100 * rows[f"value.{term}"], "lr": rate})
        own = own.assign(seed=rows["seed"]).dropna(subset=["score", "value"])
        if own.empty:
            continue
        colour = style.TERM_COLOURS[term]
        figure.add_scatter(
            x=own["score"],
            y=own["value"],
            mode="markers",
            name=f"seeds {term}",
            marker={"color": colour, "size": 6, "opacity": 0.45},
            cliponaxis=False,
            customdata=[
                f"<b>{style.symbol(term)}</b>, learning rate {row.lr:g}, seed {row.seed}<br>score {row.score:.4g}, "
                f"{metric} {row.value:.2f} %"
                for row in own.itertuples(index=False)
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )
        means = own.groupby("lr")[["score", "value"]].mean()
        figure.add_scatter(
            x=means["score"],
            y=means["value"],
            mode="lines+markers+text",
            name=term,
            cliponaxis=False,
            line={"color": colour, "width": 2.5},
            marker={"size": 11, "line": {"color": style.ink(dark), "width": 1}},
            text=[f"{lr:g}" for lr in means.index],
            textposition="top center",
            textfont={"size": 11},
            customdata=[
                f"<b>{style.name_in_figures(term)}</b>, learning rate {lr:g}, mean over seeds<br>"
                f"score {row.score:.4g}, {metric} {row.value:.2f} %"
                for lr, row in zip(means.index, means.itertuples(index=False), strict=True)
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )
        last = means.iloc[-1]
        figure.add_annotation(
            x=last["score"],
            y=last["value"],
            text=f"<b>{style.symbol(term)}</b>",
            showarrow=False,
            xanchor="left",
            xshift=10,
            font={"color": style.term_ink(term, dark), "size": 15},
            name="end",
        )
    figure.update_xaxes(
        title={"text": f"score in the probe ({APPROACHES[approach].label})", "standoff": 4}, fixedrange=True
    )
    figure.update_yaxes(title={"text": f"{metric} of the term alone, %", "standoff": 6}, fixedrange=True)
    figure.update_layout(
        template=style.template(dark), height=400, margin={"t": 22, "r": 30, "b": 46}, hovermode="closest"
    )
    return figure
