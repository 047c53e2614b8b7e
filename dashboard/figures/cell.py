"""Geometry of one cell of a heatmap: a bias before and after, drawn in the plane that the two span."""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go

from beft_core.scores.plane import Pair
from dashboard.figures.parts import style
from dashboard.figures.parts.marks import draw_arrow


def cell(pair: Pair, term: str, dark: bool = False) -> go.Figure:
    """Draw ``before`` to the right, ``after`` turned by the angle, both at their length on one scale.

    The shorter is projected onto the longer (dotted); the thick pale rest of the longer, as a share of it, is the
    projection ratio.
    """
    colour, ink = style.TERM_COLOURS[term], style.ink(dark)
    turn = math.radians(pair.angle)
    size = max(pair.pre_norm, pair.post_norm) or 1.0
    pre = np.array([pair.pre_norm, 0.0]) / size
    post = np.array([math.cos(turn), math.sin(turn)]) * pair.post_norm / size
    longer, shorter = (post, pre) if pair.onto == "post" else (pre, post)
    figure = go.Figure()
    if pair.pre_norm and pair.post_norm:
        foot = longer * (longer @ shorter)  # the longer has length 1
        arc = np.linspace(0, turn, 40)
        lines = {
            "lost": (np.array([foot, longer]), {"color": colour, "width": 10}, 0.3),
            "projection": (np.array([shorter, foot]), {"color": ink, "width": 1.5, "dash": "dot"}, 1),
            "angle": (0.25 * np.column_stack([np.cos(arc), np.sin(arc)]), {"color": ink, "width": 1.5}, 1),
        }
        for name, (points, line, opacity) in lines.items():
            figure.add_scatter(
                x=points[:, 0], y=points[:, 1], mode="lines", line=line, opacity=opacity, name=name, hoverinfo="skip"
            )
        if pair.angle >= 3:
            figure.add_annotation(
                x=0.36 * math.cos(turn / 2), y=0.36 * math.sin(turn / 2), text=f"{pair.angle:.0f}°", showarrow=False
            )
    for name, tip, look in (("before", pre, ink), ("after", post, colour)):
        draw_arrow(figure, (0.0, 0.0), tip, look, name)
        figure.add_annotation(
            x=tip[0],
            y=tip[1],
            text=f"<b>{style.symbol(term)}</b> {name}",
            showarrow=False,
            font={"color": style.readable(look, dark)},
            yshift=-14 if name == "before" else 14,
            xanchor="right" if tip[0] > 0.4 else "center",
            name="label",
        )
    # One scale for both axes, or angles would lie.
    figure.update_xaxes(range=[min(-0.05, post[0] - 0.25), 1.05], visible=False, fixedrange=True)
    figure.update_yaxes(
        range=[-0.16, max(0.4, post[1] + 0.16)], visible=False, fixedrange=True, scaleanchor="x", constrain="domain"
    )
    figure.update_layout(template=style.template(dark), height=250, hovermode=False)
    return figure
