"""Curves of a run at work. A plotly chart is built anew at every tick, which flickers and forgets the reader's zoom;
this draws the same figure in place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from beft_core.terms import TERMS
from dashboard.figures.parts import style
from dashboard.figures.parts.numbers import NUMBERS_JS

if TYPE_CHECKING:
    import plotly.graph_objects as go

_HERE = Path(__file__).parent
_COMPONENT = st.components.v2.component(
    "beft_live_curves",
    html='<div class="live">\n<svg role="img"></svg>\n<output></output>\n</div>',
    css="""
    .live { position: relative; }
    svg { width: 100%; height: 220px; display: block; touch-action: none; cursor: crosshair; user-select: none; }
    text { font-family: var(--st-font); font-size: 0.75rem; fill: var(--st-text-color); }
    text.name { font-size: 0.875rem; }
    .grid { stroke: var(--st-border-color); }
    .joint { opacity: 0.6; }
    .mark { fill: var(--st-primary-color); opacity: 0.15; }
    output { position: absolute; top: 0; right: 0; font-size: 0.75rem; color: var(--st-text-color); opacity: 0.8; }
    """,
    js="\n".join(path.read_text(encoding="utf-8") for path in (NUMBERS_JS, _HERE / "live.js")),
)


def live(figure: go.Figure, key: str, alt: str, dark: bool) -> None:
    """Draw a figure of :mod:`dashboard.figures.curves.progress` in place: dragging zooms, a double click shows all."""
    _COMPONENT(key=key, data=drawn(figure, dark) | {"alt": alt}, height="content")


def drawn(figure: go.Figure, dark: bool = False) -> dict[str, Any]:
    """Write the lines of a figure as the script takes them."""
    return {
        "lines": [_line(trace, dark) for trace in figure.data if "lines" in trace.mode],
        "total": figure.layout.xaxis.range[1],
        "title": figure.layout.yaxis.title.text,
        "zero": figure.layout.yaxis.rangemode == "tozero",
    }


def _line(trace: Any, dark: bool) -> dict[str, Any]:
    term = TERMS.get(trace.name)
    return {
        "name": term.symbol if term else trace.name or "loss",
        "label": term.symbol if term else "",
        "x": list(trace.x),
        "y": list(trace.y),
        "color": trace.line.color,
        "ink": style.readable(trace.line.color, dark),
        "width": trace.line.width,
        "dotted": trace.line.dash == "dot",
        "dots": "markers" in trace.mode,
    }
