"""Scores of a model that is written down differently: the ratio of b_v over the length of a shift, and bars of the
scores as they are and rewritten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from beft_core.scores.rewriting import Flip
from beft_core.terms import CANDIDATES, TERMS
from dashboard.figures.parts import style
from dashboard.figures.parts.marks import draw_band
from dashboard.figures.parts.numbers import short

PALE = 0.4
"""Opacity of the bars as the model is."""


def over_shift(
    r: np.ndarray,
    scores: np.ndarray,
    band: tuple[np.ndarray, np.ndarray] | None,
    others: Mapping[str, float],
    at: float,
    flip: Flip | None,
    dark: bool = False,
) -> go.Figure:
    """Draw the projection ratio of b_v over the length r of the shift, the level of its rivals, and the flip.

    Args:
        r: lengths, ascending.
        scores: ratio of b_v at each length, in the direction that is looked at.
        band: least and largest ratio over other random directions; None: there are none.
        others: ratio of each rival, which no shift changes.
        at: the length that is looked at.
        flip: where the selection flips; None: nowhere.
        dark: theme of the page.
    """
    figure = go.Figure()
    colour = style.TERM_COLOURS["v"]
    if band is not None:
        draw_band(figure, list(r), list(band[0]), list(band[1]), colour, {})
    for term, score in others.items():
        look = style.TERM_COLOURS[term]
        figure.add_hline(y=score, line={"color": look, "width": 2, "dash": "dash"}, name=term)
        figure.add_annotation(
            x=0.01,
            xref="paper",
            y=score,
            text=f"{style.symbol(term)} {short(score)}, whatever r",
            showarrow=False,
            xanchor="left",
            yanchor="top",
            font={"color": style.readable(look, dark)},
            name="rival",
        )
    figure.add_scatter(
        x=r,
        y=scores,
        mode="lines",
        name="v",
        line={"color": colour, "width": 3},
        hovertemplate="r = %{x:.2f}: b<sub>v</sub> %{y:.3f}<extra></extra>",
    )
    here = float(np.interp(at, r, scores))
    figure.add_scatter(
        x=[at],
        y=[here],
        mode="markers",
        name="here",
        marker={"color": colour, "size": 13, "line": {"color": style.ink(dark), "width": 2}},
        cliponaxis=False,
        hoverinfo="skip",
    )
    figure.add_annotation(
        x=at,
        y=here,
        text=f"<b>{style.symbol('v')} {here:.3f}</b>",
        showarrow=False,
        xanchor="left" if at < 0.75 * r[-1] else "right",
        yshift=26,
        xshift=6 if at < 0.75 * r[-1] else -6,
        bgcolor=style.ground(dark),
        font={"size": 15, "color": style.readable(colour, dark)},
        name="here",
    )
    if flip is not None and flip.at <= r[-1]:
        figure.add_vline(x=flip.at, line={"color": style.ink(dark), "width": 1.5, "dash": "dot"}, name="flip")
        figure.add_annotation(
            x=flip.at,
            y=1,
            yref="paper",
            text=f"selects {style.symbol(flip.before)} │ selects {style.symbol(flip.after)}",
            showarrow=False,
            yanchor="bottom",
            name="flip",
        )
    top = max(float(scores.max()), *others.values(), 0.1) if others else max(float(scores.max()), 0.1)
    figure.update_xaxes(
        range=[0, r[-1]],
        fixedrange=True,
        title={"text": "length r of the constant, in lengths of b<sub>v</sub>", "standoff": 4},
    )
    figure.update_yaxes(
        range=[0, 1.12 * top], fixedrange=True, title={"text": "projection ratio", "standoff": 4}, rangemode="tozero"
    )
    figure.update_layout(template=style.template(dark), height=320, margin={"t": 30}, hovermode="closest")
    return figure


def before_after(
    was: Mapping[str, float], now: Mapping[str, float], null: Sequence[str], selected: str | None, dark: bool = False
) -> go.Figure:
    """Draw the scores of q, k and v by one approach as two bars each: pale as the model is, full as it is rewritten.

    ``was``, ``now``: term -> score; ``null``: terms that cannot act; ``selected``: what the rewritten scores select.
    """
    terms = [term for term in CANDIDATES if term in was]
    top = max([*was.values(), *(now.get(term, 0.0) for term in terms), 0.0]) or 1.0
    figure = go.Figure()
    for offset, scores, words, opacity in ((0.0, was, "as it is", PALE), (0.4, now, "rewritten", 1.0)):
        figure.add_bar(
            x=[scores.get(term, 0.0) for term in terms],
            y=[place + offset for place in range(len(terms))],
            width=0.36,
            orientation="h",
            name=words,
            marker={"color": [style.TERM_COLOURS[term] for term in terms], "opacity": opacity},
            text=[
                " null: cannot act" * (offset == 0) if term in null else f" {short(scores[term])} {words}"
                for term in terms
            ],
            textposition="outside",
            cliponaxis=False,
            textfont={"size": 12},
            customdata=[f"{TERMS[term].symbol} {words}: {scores.get(term, 0.0):.6g}" for term in terms],
            hovertemplate="%{customdata}<extra></extra>",
        )
    figure.update_xaxes(range=[0, top * 1.75], visible=False, fixedrange=True)
    figure.update_yaxes(
        range=[len(terms) - 0.3, -0.35],
        showgrid=False,
        fixedrange=True,
        tickvals=[place + 0.2 for place in range(len(terms))],
        ticktext=[f"{'★ ' if term == selected else ''}<b>{style.symbol(term)}</b> " for term in terms],
        tickfont={"size": 15},
    )
    figure.update_layout(template=style.template(dark), height=56 * len(terms) + 8, bargap=0)
    return figure
