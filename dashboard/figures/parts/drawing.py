"""Figures that are handed to Plotly at once: it checks everything that is there whenever something is added or changed.

A figure of four small panels takes Plotly's ``make_subplots`` and updates 90 ms, and 10 as one dictionary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from dashboard.figures.parts import style


@dataclass(frozen=True)
class Box:
    """Place of a panel, as parts of the figure's width and height."""

    x: tuple[float, float] = (0.0, 1.0)
    """Left and right end."""
    y: tuple[float, float] = (0.0, 1.0)
    """Lower and upper end."""


def grid(count: int, columns: int, gap_x: float = 0.0, gap_y: float = 0.0) -> list[Box]:
    """Place panels of one size row by row, from the top. ``gap_x``, ``gap_y``: space between two, as a part of the
    figure's.
    """
    rows = -(-count // columns)
    places = [divmod(number, columns) for number in range(count)]
    return [Box(_span(column, columns, gap_x), _span(rows - 1 - row, rows, gap_y)) for row, column in places]


def _span(place: int, count: int, gap: float) -> tuple[float, float]:
    size = (1.0 - gap * (count - 1)) / count
    return place * (size + gap), min(1.0, place * (size + gap) + size)


@dataclass
class Drawing:
    """All that stands in a figure, as Plotly's dictionaries. Panels are numbered from 1."""

    boxes: Sequence[Box] = (Box(),)
    traces: list[dict[str, Any]] = field(default_factory=list)
    shapes: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)
    """Everything else of the layout by its name there, such as axes and colour axes."""

    @classmethod
    def of_panels(
        cls, titles: Sequence[str], boxes: Sequence[Box], *, shared: bool = True, title_size: int = 13
    ) -> Drawing:
        """Begin a drawing of several panels. ``titles``: markup that stands above each, "" for none; ``shared``:
        whether those of a row have one y axis, whose numbers stand at the first.
        """
        drawing = cls(boxes)
        for panel, (title, box) in enumerate(zip(titles, boxes, strict=True), 1):
            first = drawing.first_of_row(panel)
            is_shared = shared and panel != first
            of_first = {"matches": f"y{_number(first)}", "showticklabels": False} if is_shared else {}
            drawing.axis("x", panel, anchor=f"y{_number(panel)}", domain=box.x)
            drawing.axis("y", panel, anchor=f"x{_number(panel)}", domain=box.y, **of_first)
            font, middle = {"size": title_size}, sum(box.x) / 2
            if title:
                drawing.words(title, x=middle, y=box.y[1], font=font, xanchor="center", yanchor="bottom", **_ON_PAPER)
        return drawing

    def first_of_row(self, panel: int) -> int:
        """Find the leftmost panel of a panel's row."""
        return 1 + next(at for at, box in enumerate(self.boxes) if box.y == self.boxes[panel - 1].y)

    def axis(self, letter: str, panel: int = 1, **look: Any) -> None:
        """Set what an axis, ``x`` or ``y``, of a panel looks like, beside what was set before."""
        self.layout.setdefault(f"{letter}axis{_number(panel)}", {}).update(look)

    def axes(self, letter: str, **look: Any) -> None:
        """Set what the axes of all panels look like that have begun."""
        for name in [name for name in self.layout if name.startswith(f"{letter}axis")]:
            self.layout[name].update(look)

    def trace(self, kind: str, panel: int = 1, **look: Any) -> None:
        """Draw a trace of a kind of Plotly's, such as ``scatter`` or ``bar``."""
        self.traces.append({"type": kind, "xaxis": f"x{_number(panel)}", "yaxis": f"y{_number(panel)}", **look})

    def rectangle(self, panel: int = 1, **look: Any) -> None:
        """Draw a rectangle in the units of a panel's axes."""
        self.shapes.append({"type": "rect", **_on(panel), **look})

    def line(self, start: tuple[float, float], end: tuple[float, float], panel: int = 1, **look: Any) -> None:
        """Draw a line between two points (x, y) in the units of a panel's axes."""
        (x0, y0), (x1, y1) = start, end
        self.shapes.append({"type": "line", **_on(panel), "x0": x0, "x1": x1, "y0": y0, "y1": y1, **look})

    def across(self, y: float, panel: int = 1, **look: Any) -> None:
        """Draw a line across a panel at the height ``y``."""
        self.shapes.append({"type": "line", **_on(panel, "x"), "x0": 0, "x1": 1, "y0": y, "y1": y, **look})

    def upward(self, x: float, panel: int = 1, **look: Any) -> None:
        """Draw a line from the lower to the upper edge of a panel at the place ``x``."""
        self.shapes.append({"type": "line", **_on(panel, "y"), "x0": x, "x1": x, "y0": 0, "y1": 1, **look})

    def words(self, text: str, panel: int = 1, *, within: str = "", **look: Any) -> None:
        """Write markup on a panel, without an arrow. ``within``: letters of the axes along which its place is a part of
        the panel, from 0 to 1, and not in their units.
        """
        self.annotations.append({"text": text, "showarrow": False, **_on(panel, within), **look})

    def figure(self, dark: bool, **layout: Any) -> go.Figure:
        """Make the figure, in the look of all figures; ``layout``: what else it has."""
        parts: Mapping[str, Any] = {"shapes": self.shapes, "annotations": self.annotations}
        there = {name: part for name, part in parts.items() if part}
        template = style.template(dark)
        return go.Figure({"data": self.traces, "layout": {"template": template, **self.layout, **there, **layout}})


_ON_PAPER: dict[str, Any] = {"xref": "paper", "yref": "paper"}


def _number(panel: int) -> str:
    """Write the number of a panel as it stands in the names of its axes."""
    return str(panel) if panel > 1 else ""


def _on(panel: int, within: str = "") -> dict[str, str]:
    """Say what places on a panel are measured by; ``within``: as of :meth:`Drawing.words`."""
    return {f"{axis}ref": f"{axis}{_number(panel)}{' domain' if axis in within else ''}" for axis in "xy"}
