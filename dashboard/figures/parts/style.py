"""Look of every figure: one colour per bias term, one colour scale, one template per theme."""

from __future__ import annotations

from functools import cache

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from beft_core.terms import TERMS
from dashboard.figures.parts.contrast import TEXT, Colour, contrast, rgb

TERM_COLOURS: dict[str, str] = {
    "q": "#0072B2",  # blue
    "k": "#707070",  # grey: the term that is null in most models
    "v": "#D55E00",  # vermillion
    "o": "#DD9200",  # orange
    "mlp_in": "#009E73",  # green
    "mlp_out": "#56B4E9",  # sky
    "ln1": "#A4508B",  # purple
    "ln2": "#E3D13A",  # yellow
}
"""Colours of the terms after Okabe and Ito (https://jfly.uni-koeln.de/color/), distinct with any of the common kinds of
colour blindness; on white and on dark ground."""

SCALE = "Viridis"
"""Colour scale of scores: even steps look even, also in grey and to the colour-blind."""

FONT = '"Source Sans", "Source Sans Pro", sans-serif'
_INK = {False: "#10141d", True: "#e6e9ef"}
_GRID = {False: "#e3e7ee", True: "#2b3341"}
_GROUND = {False: "#ffffff", True: "#11151d"}
_VOID = {False: "#e9ecf1", True: "#242b38"}


def ink(dark: bool) -> str:
    """Colour of text and outlines."""
    return _INK[dark]


def on_scale(fraction: float) -> str:
    """Colour of text on :data:`SCALE`, 0 to 1: white or black, whichever stands out more."""
    return on_colour(sample_colorscale(SCALE, [min(max(fraction, 0.0), 1.0)], colortype="tuple")[0])


def on_colour(colour: Colour) -> str:
    """Colour of text inside a mark of a colour: white or black, whichever stands out more."""
    return max(("#ffffff", "#000000"), key=lambda text: contrast(text, colour))


@cache
def readable(colour: str, dark: bool) -> str:
    """Darken a colour (on the dark page: lighten it) as little as text of it needs: :data:`TEXT` to 1."""
    end = (1.0, 1.0, 1.0) if dark else (0.0, 0.0, 0.0)
    for share in range(101):
        mixed = tuple(c + share / 100 * (e - c) for c, e in zip(rgb(colour), end, strict=True))
        text = "#" + "".join(f"{round(255 * c):02x}" for c in mixed)
        if contrast(text, _GROUND[dark]) >= TEXT:
            break
    return text


def term_ink(term: str, dark: bool) -> str:
    """Colour of a term's name on the page: that of its marks, where text of it can be read."""
    return readable(TERM_COLOURS[term], dark)


def ground(dark: bool) -> str:
    """Colour of the page: for figures that leave it."""
    return _GROUND[dark]


def void(dark: bool) -> str:
    """Colour of cells that have no score."""
    return _VOID[dark]


def symbol(term: str) -> str:
    """Symbol of a term in the paper, for plotly: ``b_m1`` with its index lowered."""
    head, index = TERMS[term].symbol.split("_")
    return f"{head}<sub>{index}</sub>"


def latex(term: str) -> str:
    """Symbol of a term in the paper, as LaTeX for Markdown."""
    head, index = TERMS[term].symbol.split("_")
    return f"${head}_{{\\mathrm{{{index}}}}}$" if len(index) > 1 else f"${head}_{index}$"


def template(dark: bool) -> go.layout.Template:
    """Make the template of all figures. Its ground is transparent, for pages of either theme and for files."""
    axis = {
        "gridcolor": _GRID[dark],
        "linecolor": _GRID[dark],
        "zeroline": False,
        "ticks": "",
        "automargin": True,
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 13, "color": _INK[dark]},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "xaxis": axis,
            "yaxis": axis,
            "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
            "hoverlabel": {"font": {"family": FONT, "size": 13}},
            "showlegend": False,
            "dragmode": False,
        }
    )
