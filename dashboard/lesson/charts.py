"""Figures of the dashboard as JSON for a page, in both themes, their common template left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from dashboard.figures.parts import style

THEMES: dict[str, bool] = {"light": False, "dark": True}
"""Name of a theme -> whether it is dark."""


@dataclass(frozen=True)
class Chart:
    """Figure in both themes, and the words for those who cannot see it."""

    key: str
    """Name, unique on its page."""
    alt: str
    figure: dict[str, Any]
    """Figure of the light theme as JSON, without its template."""
    dark: list[tuple[list[str | int], Any]]
    """What the dark theme has otherwise: where in the figure, and the value there."""

    @property
    def height(self) -> int:
        """Pixels of its height, which are kept free until it is drawn."""
        return int(self.figure["layout"]["height"])


def chart(key: str, alt: str, draw: Callable[[bool], go.Figure]) -> Chart:
    """Draw a figure in both themes. ``draw``: takes whether the theme is dark."""
    light, dark = (_figure(draw(dark)) for dark in THEMES.values())
    return Chart(key, alt, light, list(_differences(light, dark)))


def templates() -> dict[str, Any]:
    """Write the template of each theme as JSON."""
    empty = {name: go.Figure(layout={"template": style.template(dark)}) for name, dark in THEMES.items()}
    return {name: json.loads(str(figure.to_json()))["layout"]["template"] for name, figure in empty.items()}


def _differences(one: Any, other: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[list[str | int], Any]]:
    """List where a JSON value differs from another of its shape, and the other's value there."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        pairs = [(key, one[key], other[key]) for key in one]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = list(zip(range(len(one)), one, other, strict=True))
    else:
        pairs = []
        if one != other:
            yield list(at), other
    for key, left, right in pairs:
        yield from _differences(left, right, (*at, key))


def _figure(figure: go.Figure) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(str(figure.to_json()))
    del made["layout"]["template"]
    return made
