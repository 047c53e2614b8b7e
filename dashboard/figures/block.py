"""Map of a transformer block and the eight bias terms in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from beft_core.terms import TERMS
from dashboard.figures.parts import style


@dataclass(frozen=True)
class Part:
    """Box of the map: where its centre is, what it says, and the bias that is added there."""

    x: float
    y: float
    text: str
    term: str | None = None


PARTS: dict[str, Part] = {
    "in": Part(0, 0, "token<br>vectors"),
    "q": Part(1, 1, "query", "q"),
    "k": Part(1, 0, "key", "k"),
    "v": Part(1, -1, "value", "v"),
    "attention": Part(2, 0.5, "softmax<br>(q · k)"),
    "sum": Part(3, 0, "weighted<br>sum of v"),
    "o": Part(4, 0.5, "output", "o"),
    "ln1": Part(4, -0.5, "norm", "ln1"),
    "mlp_in": Part(5, 1, "MLP in", "mlp_in"),
    "mlp_out": Part(5, 0, "MLP out", "mlp_out"),
    "ln2": Part(5, -1, "norm", "ln2"),
}
ARROWS: tuple[tuple[str, str], ...] = (
    ("in", "q"),
    ("in", "k"),
    ("in", "v"),
    ("q", "attention"),
    ("k", "attention"),
    ("attention", "sum"),
    ("v", "sum"),
    ("sum", "o"),
    ("o", "ln1"),
    ("ln1", "mlp_in"),
    ("mlp_in", "mlp_out"),
    ("mlp_out", "ln2"),
)
WIDTH, HEIGHT = 0.72, 0.74
"""Width and height of a box, in units of the axes."""


def block(strong: Sequence[str], dark: bool = False) -> go.Figure:
    """Draw one layer, columns from left to right and each from top to bottom (post-norm, as in BERT).

    The bias terms ``strong`` stand out from the others.
    """
    figure = go.Figure()
    shapes: list[
        dict[str, Any]
    ] = []  # put in together, as are the notes: plotly checks all with every one that is added
    notes: list[dict[str, Any]] = []
    for start, end in ARROWS:
        one, other = PARTS[start], PARTS[end]
        down = one.x == other.x
        across, along = (0.0, -HEIGHT / 2) if down else (WIDTH / 2, 0.0)
        notes.append(
            {
                "x": other.x - across,
                "y": other.y - along,
                "ax": one.x + across,
                "ay": one.y + along,
                "xref": "x",
                "yref": "y",
                "axref": "x",
                "ayref": "y",
                "text": "",
                "showarrow": True,
                "arrowhead": 2,
                "arrowwidth": 1.2,
                "arrowcolor": style.ink(dark),
                "opacity": 0.55,
            }
        )
    for part in PARTS.values():
        shapes += _boxes(part, part.term in strong, dark)
        notes.append(_text(part, part.term in strong))
        if part.term:
            _draw_hover(figure, part)
    figure.update_xaxes(range=[-0.4, 5.4], visible=False, fixedrange=True)
    figure.update_yaxes(range=[-1.5, 1.5], visible=False, fixedrange=True)
    figure.update_layout(
        template=style.template(dark),
        height=200,
        hovermode="closest",
        margin={"t": 0, "b": 0, "l": 0, "r": 0},
        shapes=shapes,
        annotations=notes,
    )
    return figure


def _boxes(part: Part, strong: bool, dark: bool) -> list[dict[str, Any]]:
    """Shapes of a part: its ground, and the frame of a bias term."""
    colour = style.TERM_COLOURS[part.term] if part.term else style.void(dark)
    box = {
        "type": "rect",
        "x0": part.x - WIDTH / 2,
        "x1": part.x + WIDTH / 2,
        "y0": part.y - HEIGHT / 2,
        "y1": part.y + HEIGHT / 2,
        "layer": "below",
    }
    opacity = (0.28 if strong else 0.12) if part.term else 1
    ground = {**box, "fillcolor": colour, "opacity": opacity, "line": {"width": 0}}
    if not part.term:
        return [ground]
    return [ground, {**box, "line": {"color": colour, "width": 3 if strong else 1}, "name": part.term}]


def _text(part: Part, strong: bool) -> dict[str, Any]:
    bias = f"<br><b>+ {style.symbol(part.term)}</b>" if part.term else ""
    font = {"size": 14 if strong else 12}
    return {"x": part.x, "y": part.y, "text": part.text + bias, "showarrow": False, "font": font, "name": "part"}


def _draw_hover(figure: go.Figure, part: Part) -> None:
    term = TERMS[str(part.term)]
    figure.add_scatter(
        x=[part.x],
        y=[part.y],
        mode="markers",
        marker={"size": 40, "opacity": 0},
        showlegend=False,
        hovertemplate=f"<b>{style.symbol(term.key)}</b>, {term.label}: {term.where}<extra></extra>",
    )
