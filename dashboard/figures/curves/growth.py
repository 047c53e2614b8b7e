"""Growth of the candidates' scores through a fine-tune, for several fine-tunes side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from beft_core.terms import TERMS
from dashboard.figures.parts import style
from dashboard.figures.parts.end_labels import End, name_ends

HEIGHT = 330


@dataclass(frozen=True)
class Growth:
    """Scores of one fine-tune over its steps."""

    title: str
    steps: Sequence[int]
    scores: Mapping[str, Sequence[float]]
    """Term -> mean projection ratio at each of the steps."""
    noise: frozenset[str] = frozenset()
    """Terms whose score is rounding noise."""


def growth(runs: Sequence[Growth], dark: bool = False) -> go.Figure:
    """Draw one panel per fine-tune on one scale; noise is dashed and says so at its end."""
    figure = make_subplots(
        1, len(runs), shared_yaxes=True, horizontal_spacing=0.05, subplot_titles=[f"<b>{run.title}</b>" for run in runs]
    )
    last = max(run.steps[-1] for run in runs)
    top = max(max(scores) for run in runs for scores in run.scores.values()) or 1.0
    span = (-0.04 * top, 1.12 * top)
    for panel, run in enumerate(runs, 1):
        ends = []
        for term, scores in run.scores.items():
            noise = term in run.noise
            figure.add_scatter(
                x=list(run.steps),
                y=list(scores),
                mode="lines+markers",
                row=1,
                col=panel,
                line={"color": style.TERM_COLOURS[term], "width": 3, "dash": "dot" if noise else "solid"},
                marker={"size": 6, "symbol": "x" if noise else "circle"},
                hovertemplate=f"step %{{x}}: {TERMS[term].symbol} %{{y:.3f}}<extra></extra>",
            )
            name = f"<b>{style.symbol(term)}{' ⚠' if noise else ''}</b>"
            ends.append(End(run.steps[-1], scores[-1], name, style.term_ink(term, dark)))
        name_ends(figure, ends, span, HEIGHT - 90, place={"row": 1, "col": panel})
    figure.update_xaxes(range=[0, last * 1.38], title={"text": "training step", "standoff": 4}, fixedrange=True)
    figure.update_yaxes(range=span, fixedrange=True)
    figure.update_yaxes(title={"text": "projection ratio, mean over layers", "standoff": 6}, row=1, col=1)
    figure.update_annotations(selector={"yref": "paper"}, font_size=14)
    figure.update_layout(template=style.template(dark), height=HEIGHT, margin={"t": 40})
    return figure
