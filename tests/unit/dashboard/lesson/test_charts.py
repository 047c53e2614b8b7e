"""Figures of both themes in one: what the dark one has otherwise, put into the light one, is the dark one."""

from __future__ import annotations

import copy
import json
from typing import Any

import plotly.graph_objects as go

from dashboard.figures.parts import style
from dashboard.lesson.charts import chart, templates


def draw(dark: bool) -> go.Figure:
    """A figure with a colour, a list and a text that depend on the theme."""
    figure = go.Figure(go.Bar(x=[1, 2], y=["a", "b"], marker={"color": ["#000", style.ink(dark)]}))
    figure.add_annotation(text="dark" if dark else "light", x=1, y=1)
    return figure.update_layout(template=style.template(dark), height=200)


def in_the_dark(figure: dict[str, Any], dark: list[tuple[list[Any], Any]]) -> dict[str, Any]:
    """What the page's script does."""
    whole = copy.deepcopy(figure)
    for path, value in dark:
        at: Any = whole
        for name in path[:-1]:
            at = at[name]
        at[path[-1]] = value
    return whole


def test_the_dark_figure_comes_back() -> None:
    made = chart("bars", "Two bars", draw)
    expected = json.loads(str(draw(True).to_json()))
    del expected["layout"]["template"]
    assert made.figure != expected and in_the_dark(made.figure, made.dark) == expected
    assert len(made.dark) == 2 and made.height == 200


def test_a_part_of_another_length_is_replaced_as_a_whole() -> None:
    made = chart("x", "", lambda dark: go.Figure(go.Bar(x=[1, 2][: 1 + dark])).update_layout(height=90))
    assert [value for _, value in made.dark] == [[1, 2]]


def test_templates_are_those_of_the_dashboard() -> None:
    assert templates()["dark"]["layout"]["font"]["color"] == style.ink(True) != style.ink(False)
