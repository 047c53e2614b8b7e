"""Ranking of the terms by one approach, as bars."""

from __future__ import annotations

import plotly.graph_objects as go

from beft_core.scores.table import ScoreTable, is_noise
from beft_core.terms import CANDIDATES
from dashboard.figures.heatmaps import partly_null, why_grey
from dashboard.figures.parts import style
from dashboard.figures.parts.numbers import short


def ranking(table: ScoreTable, approach: str, selected: str | None, stack: str, dark: bool = False) -> go.Figure:
    """Draw the terms from the highest mean score down. Only q, k and v can be selected: the others are pale."""
    rows = {term: row for term, row in table.rows(stack).items() if approach in row.scores}
    scores = table.mean_scores(approach, stack)
    order = sorted(scores, key=table.ranks(approach, stack).__getitem__)
    labels = [
        f"{'★ ' if term == selected else ''}{partly_null(rows[term])}{style.symbol(term)}"
        f"{' ⚠' if is_noise(rows[term], approach) else ''} "
        for term in order
    ]
    texts = []
    for term in order:
        reason = why_grey(rows[term], approach)
        texts.append(f" {short(scores[term])}" if reason is None else f" {reason}")
    top = max([*scores.values(), 0.0]) or 1.0
    figure = go.Figure(
        go.Bar(
            x=[scores[term] for term in order],
            y=labels,
            orientation="h",
            text=texts,
            textposition="outside",
            cliponaxis=False,
            textfont={"size": 12},
            marker={
                "color": [style.TERM_COLOURS[term] for term in order],
                "opacity": [1.0 if term in CANDIDATES else 0.5 for term in order],
                "pattern": {
                    "shape": style.approach_forms()[approach].pattern,
                    "fillmode": "overlay",
                    "fgopacity": 0.5,
                    "size": 6,
                },
                "line": {"color": style.ink(dark), "width": [2 if term == selected else 0 for term in order]},
            },
            customdata=[f"{style.name(term)}: {scores[term]:.4g}, rank {rank}" for rank, term in enumerate(order, 1)],
            hovertemplate="%{customdata}<extra></extra>",
        )
    )
    figure.update_xaxes(range=[0, top * 1.35], showticklabels=False, showgrid=False, fixedrange=True)
    figure.update_yaxes(autorange="reversed", fixedrange=True, showgrid=False)
    figure.update_layout(template=style.template(dark), height=22 * len(order) + 12, bargap=0.28)
    return figure
