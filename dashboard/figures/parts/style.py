"""Look of every page and figure, all of it from the tables of this module.

A colour is a bias term, and nothing else has it: a run that trains b_v alone is as orange as b_v. Approaches are told
apart by form (symbol, pattern of a bar, dashes of a line) in the colour of the text; buttons, links and lines that help
to read are neutral. A term is named with its words first and its symbol second.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from beft_core.scores.approaches import questions
from beft_core.terms import CANDIDATES, TERMS
from dashboard.figures.parts.contrast import TEXT, Colour, blend, contrast, rgb

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

THEME_HUES: dict[str, str] = {"q": "blue", "k": "gray", "v": "orange"}
"""Names of Streamlit's colours, as in ``:orange[...]``, that the theme sets to :func:`term_ink` of a candidate."""

NEUTRAL: dict[bool, str] = {False: "#38445a", True: "#c2ccdb"}
"""Colour of what is no term, light and dark: buttons, links, sliders, lines of equal score. It is the theme's primary
colour.
"""

DIVERGING: tuple[str, str] = ("#8E63A8", "#1B9E5A")
"""Ends of a scale from less to more, purple and green: apart for the colour-blind, and no term has them."""


@dataclass(frozen=True)
class Form:
    """Form of an approach: how its marks, bars and lines are told from those of another approach."""

    symbol: str
    """Plotly's marker symbol."""
    sign: str
    """The same symbol in text."""
    pattern: str
    """Plotly's pattern of a bar; empty: filled."""
    dash: str
    """Plotly's dash of a line."""


_FORMS: tuple[tuple[Form, Form], ...] = (
    (Form("circle", "●", "", "solid"), Form("circle-open", "○", ".", "longdash")),
    (Form("square", "■", "/", "dash"), Form("square-open", "□", "\\", "longdashdot")),
    (Form("triangle-up", "▲", "x", "dot"), Form("triangle-up-open", "△", "+", "dashdot")),
    (Form("pentagon", "⬟", "-", "8px,3px,2px,3px"), Form("pentagon-open", "⬠", "|", "2px,6px")),
)
"""Forms of the questions that approaches ask, in their order: of the paper's approach, and of its variants."""

SCALE = "Viridis"
"""Colour scale of scores: even steps look even, also in grey and to the colour-blind."""

CONFIG: dict[str, Any] = {"displayModeBar": False, "showSendToCloud": False}
"""Plotly's configuration of every chart of a page. Plotly 7 would offer to send the figure to a server."""

FONT = '"Source Sans", "Source Sans Pro", sans-serif'
_INK = {False: "#10141d", True: "#e6e9ef"}
_GRID = {False: "#e3e7ee", True: "#2b3341"}
_GROUND = {False: "#ffffff", True: "#11151d"}
_BOX = {False: "#f3f5f8", True: "#1b212c"}
_VOID = {False: "#e9ecf1", True: "#242b38"}


def approach_forms() -> dict[str, Form]:
    """Form of each registered approach by its key: hollow for variants of a question, filled for the paper's own."""
    return {
        approach.key: _FORMS[at % len(_FORMS)][min(number, 1)]
        for at, asked in enumerate(questions().values())
        for number, approach in enumerate(asked)
    }


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
    """Darken a colour (on the dark page: lighten it) as little as text of it needs: :data:`TEXT` to 1, in boxes too."""
    end = (1.0, 1.0, 1.0) if dark else (0.0, 0.0, 0.0)
    for share in range(101):
        mixed = tuple(c + share / 100 * (e - c) for c, e in zip(rgb(colour), end, strict=True))
        text = "#" + "".join(f"{round(255 * c):02x}" for c in mixed)
        if min(contrast(text, ground[dark]) for ground in (_GROUND, _BOX)) >= TEXT:
            break
    return text


def term_ink(term: str, dark: bool) -> str:
    """Colour of a term's name on the page: that of its marks, where text of it can be read."""
    return readable(TERM_COLOURS[term], dark)


def neutral(dark: bool) -> str:
    """Colour of what is no term."""
    return NEUTRAL[dark]


SHADES = 3
"""Number of shades of a colour that can be told apart."""


def shade(colour: str, step: int, dark: bool) -> str:
    """Colour nearer to the page by a step, 0 to :data:`SHADES` - 1: for runs of one term that no dash is left for."""
    mixed = blend(colour, _GROUND[dark], (1.0, 0.62, 0.4)[step])
    return "#" + "".join(f"{round(255 * c):02x}" for c in rgb(mixed))


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


def name(term: str) -> str:
    """Name of a term as plain text: "value bias, b_v"."""
    return f"{TERMS[term].label} bias, {TERMS[term].symbol}"


def name_in_figures(term: str) -> str:
    """Name of a term for plotly, its index lowered."""
    return f"{TERMS[term].label} bias, {symbol(term)}"


def row_in_figures(term: str) -> str:
    """Name of a term at its row of a figure, with a chip of its colour: "value b_v ■"."""
    return f'{TERMS[term].label} {symbol(term)} <span style="color:{TERM_COLOURS[term]}">■</span> '


def name_in_text(term: str) -> str:
    """Name of a term as Markdown, its symbol as a formula."""
    return f"{TERMS[term].label} bias, {latex(term)}"


def tinted(term: str, text: str | None = None) -> str:
    """Write a text, or the name of a term, as Markdown in the colour of the term; plain where the theme has none."""
    words = name_in_text(term) if text is None else text
    return f":{THEME_HUES[term]}[{words}]" if term in CANDIDATES else words


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
