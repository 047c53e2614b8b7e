"""Ranking of the terms by one approach, as bars."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from beft_core.scores.table import ScoreTable, is_noise
from beft_core.terms import CANDIDATES, TERMS
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
                "line": {"color": style.ink(dark), "width": [2 if term == selected else 0 for term in order]},
            },
            customdata=[f"{style.name(term)}: {scores[term]:.4g}, rank {rank}" for rank, term in enumerate(order, 1)],
            hovertemplate="%{customdata}<extra></extra>",
        )
    )
    figure.update_xaxes(range=[0, top * 1.35], showticklabels=False, showgrid=False, fixedrange=True)
    figure.update_yaxes(autorange="reversed", fixedrange=True, showgrid=False)
    figure.update_layout(template=style.template(dark), height=26 * len(order) + 16, bargap=0.28)
    return figure


def contest(
    scores: Mapping[str, float], values: Mapping[str, str], guess: str | None, winner: str | None, dark: bool = False
) -> go.Figure:
    """Draw the candidates only, as thick bars in the order of the terms; `values`: what is written at their ends."""
    terms = [term for term in CANDIDATES if term in scores]
    top = max([*scores.values(), 0.0]) or 1.0
    figure = go.Figure(
        go.Bar(
            x=[scores[term] for term in terms],
            y=list(range(len(terms))),
            orientation="h",
            text=[
                f" <b>{values[term]}</b>{' ★' if term == winner else ''}{'  your guess' if term == guess else ''}"
                for term in terms
            ],
            textposition="outside",
            cliponaxis=False,
            textfont={"size": 15},
            hoverinfo="skip",
            marker={"color": [style.TERM_COLOURS[term] for term in terms]},
        )
    )
    figure.update_xaxes(range=[0, top * 1.75], visible=False, fixedrange=True)
    figure.update_yaxes(
        range=[len(terms) - 0.45, -0.55],
        showgrid=False,
        fixedrange=True,
        tickvals=list(range(len(terms))),
        ticktext=[f"{TERMS[term].label} <b>{style.symbol(term)}</b> " for term in terms],
        tickfont={"size": 15},
    )
    figure.update_layout(template=style.template(dark), height=52 * len(terms) + 16, bargap=0.3)
    return figure
