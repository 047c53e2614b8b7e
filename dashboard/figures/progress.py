"""A fine-tune while it runs: the loss and the validation metric over its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from dashboard.figures import style

MOST_POINTS = 1000


def loss_curve(records: Sequence[Mapping[str, Any]], dark: bool = False) -> go.Figure:
    """Training loss per step, from the records of ``metrics.jsonl``; long runs are thinned to every n-th point."""
    points = [
        (record["step"], record["loss"][0])
        for record in records
        if record.get("type") == "step" and record.get("loss") and record["loss"][0] is not None
    ]
    kept = points[:: len(points) // MOST_POINTS + 1]
    total = max((record["total"] for record in records if record.get("type") == "step"), default=1)
    figure = go.Figure(
        go.Scatter(
            x=[step for step, _ in kept], y=[loss for _, loss in kept], mode="lines",
            line={"color": style.ink(dark), "width": 1.5}, hovertemplate="step %{x}: loss %{y:.4f}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(range=[0, total], title={"text": "step", "standoff": 2}, fixedrange=True)
    figure.update_yaxes(title={"text": "training loss", "standoff": 4}, rangemode="tozero", fixedrange=True)
    figure.update_layout(template=style.template(dark), height=190)
    return figure
