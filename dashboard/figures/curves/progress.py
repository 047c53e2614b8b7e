"""Curves of a fine-tune while it runs: loss, validation metrics and scores over its steps, from the records of a run.

All keep the reader's zoom while they grow (``uirevision``), and show the whole run from its first step to its last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from beft_core.scores.approaches import APPROACHES
from beft_core.terms import TERM_KEYS
from beft_core.training.observer import NOT_METRICS
from dashboard.figures.parts import style
from dashboard.figures.parts.end_labels import End, name_ends
from dashboard.figures.parts.labels import in_figures

MAX_POINTS = 1000
HEIGHT = 220

Records = Sequence[Mapping[str, Any]]
"""Lines of ``metrics.jsonl``."""


def loss_curve(records: Records, dark: bool = False) -> go.Figure:
    """Draw the training loss per step; long runs are thinned to every n-th point."""
    points = _of_run(
        (record["step"], record["loss"][0])
        for record in records
        if record.get("type") == "step" and record.get("loss") and record["loss"][0] is not None
    )
    kept = points[:: len(points) // MAX_POINTS + 1]
    figure = go.Figure(
        go.Scatter(
            x=[step for step, _ in kept],
            y=[loss for _, loss in kept],
            mode="lines",
            line={"color": style.ink(dark), "width": 1.5},
            hovertemplate="step %{x}: loss %{y:.4f}<extra></extra>",
        )
    )
    return _laid_out(figure, records, "training loss", dark)


def metric_curve(records: Records, dark: bool = False) -> go.Figure:
    """Draw the metrics on the validation set after each epoch, the one that counts as a solid line."""
    rows = [record for record in records if record.get("type") == "epoch" and "step" in record]
    figure = go.Figure()
    for number, metric in enumerate(metric_names(records)):
        first, name = number == 0, in_figures(metric)
        points = _of_run((row["step"], row[metric]) for row in rows if row.get(metric) is not None)
        figure.add_scatter(
            x=[step for step, _ in points],
            y=[value for _, value in points],
            mode="lines+markers",
            name=name,
            line={"color": style.ink(dark), "width": 2 if first else 1, "dash": "solid" if first else "dot"},
            marker={"size": 7 if first else 5},
            hovertemplate=f"step %{{x}}: {name} %{{y:.4f}}<extra></extra>",
            cliponaxis=False,
        )
    values = [value for trace in figure.data for value in trace.y]
    if values:
        room = max(0.02, 0.08 * (max(values) - min(values)))  # a metric that stands still is no reason to show -1 to 1
        figure.update_yaxes(range=[min(values) - room, max(values) + room])
    figure.update_layout(showlegend=len(figure.data) > 1, legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"})
    return _laid_out(figure, records, "on the validation set", dark, from_zero=False)


def score_lines(records: Records, approach: str, dark: bool = False) -> go.Figure:
    """Draw a line per bias term: its score so far, mean over layers. The colours are those of every other figure."""
    rows = [
        record for record in records if record.get("type") == "scores" and isinstance(record.get("scores"), Mapping)
    ]
    rows = rows[:: len(rows) // MAX_POINTS + 1] + rows[-1:]
    figure, ends = go.Figure(), list[End]()
    for term in TERM_KEYS:
        points = _of_run(
            (row["step"], row["scores"][term][approach]) for row in rows if approach in (row["scores"].get(term) or {})
        )
        if not points:
            continue
        last_step, last = points[-1]
        colour = style.TERM_COLOURS[term]
        figure.add_scatter(
            x=[step for step, _ in points],
            y=[value for _, value in points],
            mode="lines",
            name=term,
            line={"color": colour, "width": 2.5 if term in ("q", "k", "v") else 1.5},
            hovertemplate=f"{style.name_in_figures(term)}, step %{{x}}: %{{y:.4g}}<extra></extra>",
        )
        figure.add_scatter(
            x=[last_step],
            y=[last],
            mode="markers",
            marker={"color": colour, "size": 6},
            hoverinfo="skip",
            cliponaxis=False,
        )
        ends.append(End(last_step, last, style.symbol(term), style.term_ink(term, dark)))
    highest = max((value for trace in figure.data for value in trace.y), default=0.0) or 1.0
    name_ends(figure, ends, (0.0, 1.05 * highest), HEIGHT - 50)
    figure.update_yaxes(range=[0, 1.05 * highest])
    return _laid_out(figure, records, APPROACHES[approach].label, dark, room=1.07)


def metric_names(records: Records) -> list[str]:
    """List the metrics of a run, the one that counts first."""
    return list(
        dict.fromkeys(
            name for record in records if record.get("type") == "epoch" for name in record if name not in NOT_METRICS
        )
    )


def _of_run(points: Any) -> list[tuple[int, float]]:
    """Sort (step, value) by step: a resumed run goes back to its checkpoint, and its later values win."""
    return sorted(dict(points).items())


def _laid_out(
    figure: go.Figure, records: Records, what: str, dark: bool, *, from_zero: bool = True, room: float = 1.0
) -> go.Figure:
    total = max((record["total"] for record in records if record.get("type") == "step"), default=1)
    figure.update_xaxes(range=[0, total * room], title={"text": "step", "standoff": 2})
    figure.update_yaxes(title={"text": in_figures(what), "standoff": 4}, rangemode="tozero" if from_zero else "normal")
    figure.update_layout(template=style.template(dark), height=HEIGHT, dragmode="zoom", uirevision="run")
    return figure
