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
class Grid:
    """Panels of a figure in rows and columns, numbered from 1 row by row, from the top."""

    rows: int = 1
    columns: int = 1
    gap_x: float = 0.0
    gap_y: float = 0.0
    """Space between two panels beside and above each other, as a part of the figure's."""

    def x(self, panel: int) -> tuple[float, float]:
        """Left and right end of a panel, as parts of the figure's width."""
        return _span((panel - 1) % self.columns, self.columns, self.gap_x)

    def y(self, panel: int) -> tuple[float, float]:
        """Lower and upper end of a panel, as parts of the figure's height."""
        return _span(self.rows - 1 - (panel - 1) // self.columns, self.rows, self.gap_y)

    def first_of_row(self, panel: int) -> int:
        """Number of the leftmost panel of a panel's row, whose scale the others share."""
        return panel - (panel - 1) % self.columns


def _span(place: int, count: int, gap: float) -> tuple[float, float]:
    size = (1.0 - gap * (count - 1)) / count
    return place * (size + gap), place * (size + gap) + size


@dataclass
class Drawing:
    """All that stands in a figure, as Plotly's dictionaries."""

    grid: Grid = field(default_factory=Grid)
    traces: list[dict[str, Any]] = field(default_factory=list)
    shapes: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)
    """Everything else of the layout by its name there, such as axes and colour axes."""

    @classmethod
    def of_panels(
        cls, titles: Sequence[str], columns: int, *, gap_x: float = 0.0, gap_y: float = 0.0, title_size: int = 13
    ) -> Drawing:
        """Begin a drawing of as many panels as there are ``titles``, markup that stands above them; those of a row
        share their y axis, whose numbers stand at the first.
        """
        drawing = cls(Grid(-(-len(titles) // columns), columns, gap_x, gap_y))
        grid = drawing.grid
        for panel, title in enumerate(titles, 1):
            first = grid.first_of_row(panel)
            shared = {"matches": f"y{_number(first)}", "showticklabels": False} if panel != first else {}
            drawing.axis("x", panel, anchor=f"y{_number(panel)}", domain=grid.x(panel))
            drawing.axis("y", panel, anchor=f"x{_number(panel)}", domain=grid.y(panel), **shared)
            place = {"x": sum(grid.x(panel)) / 2, "y": grid.y(panel)[1], "xref": "paper", "yref": "paper"}
            drawing.words(title, font={"size": title_size}, xanchor="center", yanchor="bottom", **place)
        return drawing

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

    def across(self, y: float, panel: int = 1, **look: Any) -> None:
        """Draw a line across a panel at the height ``y``."""
        on = {"xref": f"x{_number(panel)} domain", "yref": f"y{_number(panel)}"}
        self.shapes.append({"type": "line", **on, "x0": 0, "x1": 1, "y0": y, "y1": y, **look})

    def upward(self, x: float, panel: int = 1, **look: Any) -> None:
        """Draw a line from the lower to the upper edge of a panel at the place ``x``."""
        on = {"xref": f"x{_number(panel)}", "yref": f"y{_number(panel)} domain"}
        self.shapes.append({"type": "line", **on, "x0": x, "x1": x, "y0": 0, "y1": 1, **look})

    def words(self, text: str, panel: int = 1, **look: Any) -> None:
        """Write markup on a panel, without an arrow."""
        self.annotations.append({"text": text, "showarrow": False, **_on(panel), **look})

    def figure(self, dark: bool, **layout: Any) -> go.Figure:
        """Make the figure, in the look of all figures; ``layout``: what else it has."""
        parts: Mapping[str, Any] = {"shapes": self.shapes, "annotations": self.annotations}
        there = {name: part for name, part in parts.items() if part}
        template = style.template(dark)
        return go.Figure({"data": self.traces, "layout": {"template": template, **self.layout, **there, **layout}})


def _number(panel: int) -> str:
    """Write the number of a panel as it stands in the names of its axes."""
    return str(panel) if panel > 1 else ""


def _on(panel: int) -> dict[str, str]:
    return {"xref": f"x{_number(panel)}", "yref": f"y{_number(panel)}"}
