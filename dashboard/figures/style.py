"""The look of every figure: one colour per bias term, one colour scale, one template per theme."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from beft_core.terms import TERMS

_K = TypeVar("_K")

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
"""After Okabe and Ito (https://jfly.uni-koeln.de/color/), told apart by people with any of the three common kinds of
colour blindness; on white and on dark ground."""

SCALE = "Viridis"
"""For scores: even steps look even, also in grey and to the colour-blind."""

FONT = '"Source Sans", "Source Sans Pro", sans-serif'
_INK = {False: "#1d2330", True: "#e6e9ef"}
_GRID = {False: "#e3e7ee", True: "#2b3341"}
_GROUND = {False: "#ffffff", True: "#11151d"}
_VOID = {False: "#e9ecf1", True: "#242b38"}


def ink(dark: bool) -> str:
    """Colour of text and outlines."""
    return _INK[dark]


def on_scale(fraction: float) -> str:
    """Colour of text on :data:`SCALE`, 0 to 1: white or black, whichever stands out more (WCAG contrast)."""
    red, green, blue = sample_colorscale(SCALE, [min(max(fraction, 0.0), 1.0)], colortype="tuple")[0]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#ffffff" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "#000000"


def ground(dark: bool) -> str:
    """Colour of the page: for figures that leave it."""
    return _GROUND[dark]


def void(dark: bool) -> str:
    """Colour of cells that have no score."""
    return _VOID[dark]


def symbol(term: str) -> str:
    """The paper's symbol of a term for plotly: ``b_m1`` with its index lowered."""
    head, index = TERMS[term].symbol.split("_")
    return f"{head}<sub>{index}</sub>"


def latex(term: str) -> str:
    """The same for Markdown."""
    head, index = TERMS[term].symbol.split("_")
    return f"${head}_{{\\mathrm{{{index}}}}}$" if len(index) > 1 else f"${head}_{index}$"


def short(value: float, digits: int = 3) -> str:
    """Significant digits in as few characters as possible: 0.692, 45.3, 453, 1.2e-05, 3.1e+04."""
    size = abs(value)
    if size and (size < 1e-4 or size >= 1e5):
        return f"{value:.1e}"
    return f"{value:.0f}" if size >= 100 else f"{value:.{digits}g}"


def shortest(value: float) -> str:
    """What fits into a cell of a heatmap: 0.58, 11, 4e-4, 1e-18."""
    return f"{value:.0e}".replace("e-0", "e-") if 0 < abs(value) < 0.01 else short(value, 2)


def template(dark: bool) -> go.layout.Template:
    """Transparent ground, so that a figure sits on the page of either theme and in an exported file."""
    axis = {
        "gridcolor": _GRID[dark], "linecolor": _GRID[dark], "zeroline": False, "ticks": "", "automargin": True,
    }  # fmt: skip
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


def apart(values: Mapping[_K, float], least: float) -> dict[_K, float]:
    """Heights of labels: as close to their values as the distance `least` between neighbours allows."""
    order = sorted(values, key=values.__getitem__)
    placed: dict[_K, float] = {}
    for at, key in enumerate(order):
        floor = placed[order[at - 1]] + least if at else values[key]
        placed[key] = max(values[key], floor)
    return placed
