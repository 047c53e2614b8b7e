"""Change of the ranking of the terms from one approach to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from beft_core.scores.approaches import APPROACHES
from beft_core.scores.table import ScoreTable, is_noise, reason_without_score
from beft_core.terms import CANDIDATES, TERMS
from dashboard.figures.heatmaps import partly_null
from dashboard.figures.parts import style


def bumps(
    table: ScoreTable, approaches: Sequence[str], selected: Mapping[str, str | None], stack: str, dark: bool = False
) -> go.Figure:
    """Draw one line per term over the approaches, rank 1 on top.

    The candidates are strong, the others pale; a null term is dashed; the selected term of an approach bears a star.
    A term without a comparable score (:func:`reason_without_score`; null and frozen counts as a score of 0) has a gap.
    """
    rows = list(table.rows(stack).values())
    scores = {key: table.mean_scores(key, stack) for key in approaches}
    ranks = {key: table.ranks(key, stack) for key in approaches}
    figure = go.Figure()
    for row in sorted(rows, key=lambda row: row.term in CANDIDATES):  # candidates on top
        term, strong = row.term, row.term in CANDIDATES
        reasons = {key: reason_without_score(row, key) for key in approaches}
        ranked = [ranks[key].get(term) if reasons[key] is None or row.null else None for key in approaches]
        star = (
            style.ink(dark) if row.null else style.on_colour(style.TERM_COLOURS[term])
        )  # a null term's mark is hollow
        won = [selected.get(key) == term for key in approaches]
        figure.add_scatter(
            x=list(range(len(approaches))),
            y=ranked,
            mode="lines+markers+text",
            name=term,
            opacity=1 if strong else 0.55,
            line={"color": style.TERM_COLOURS[term], "width": 4 if strong else 2, "dash": _dash(row.null)},
            marker={
                "size": [26 if first else 13 if strong else 9 for first in won],
                "symbol": ["circle" if not row.null else "circle-open"] * len(approaches),
                "color": style.TERM_COLOURS[term],
                "opacity": 1,
                "line": {"color": style.ink(dark), "width": [2 if first else 0 for first in won]},
            },
            text=["★" if first else "" for first in won],
            textfont={"color": star, "size": 15},
            textposition="middle center",
            cliponaxis=False,
            customdata=[
                f"<b>{style.name_in_figures(term)}</b>: rank {rank} by {APPROACHES[key].label}"
                + (f", score {scores[key][term]:.4g}" if term in scores[key] else "")
                + ("<br>null: the score is rounding noise" if is_noise(row, key) else "")
                + ("<br>null and frozen: it cannot score" if row.null and reasons[key] else "")
                + (f"<br>{partly_null(row)}elements in each layer" if row.null_elements else "")
                for key, rank in zip(approaches, ranked, strict=True)
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )
        if ranked[-1] is not None:
            figure.add_annotation(
                x=len(approaches) - 1,
                y=ranked[-1],
                showarrow=False,
                xanchor="left",
                xshift=18,
                name="label",
                text=f"<b>{style.symbol(term)}</b> " + ("null" if row.null else partly_null(row)).strip(),
            )
    last = len(approaches) - 1
    figure.update_xaxes(
        range=[-0.25, last + 0.25],
        tickvals=list(range(last + 1)),
        side="top",
        showgrid=False,
        fixedrange=True,
        ticktext=[APPROACHES[key].label.replace(" ", "<br>", 1) for key in approaches],
    )
    first = {rank: term for term, rank in ranks[approaches[0]].items()}
    figure.update_yaxes(
        range=[len(rows) + 0.5, 0.5],
        tickvals=list(first),
        fixedrange=True,
        ticktext=[f"{TERMS[term].label} {style.symbol(term)}  <b>{rank}</b> " for rank, term in first.items()],
    )
    figure.update_layout(template=style.template(dark), height=44 * len(rows) + 70, hovermode="closest", margin_r=56)
    return figure


def _dash(null: bool) -> str:
    return "dot" if null else "solid"
