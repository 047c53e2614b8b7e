"""Figures that are handed to Plotly at once: panels stand where its own subplots do, and all that was said is there."""

from __future__ import annotations

import pytest
from plotly.subplots import make_subplots

from dashboard.figures.parts import style
from dashboard.figures.parts.drawing import Drawing, grid


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 3), (2, 2), (3, 2), (2, 7)])
def test_panels_stand_where_plotly_puts_its_own(rows: int, columns: int) -> None:
    titles = [f"<b>{number}</b>" for number in range(rows * columns)]
    theirs = make_subplots(
        rows, columns, shared_yaxes=True, horizontal_spacing=0.05, vertical_spacing=0.2, subplot_titles=titles
    )
    theirs.update_annotations(font_size=13)
    ours = Drawing.of_panels(titles, grid(rows * columns, columns, 0.05, 0.2)).figure(dark=False)
    for name in [name for name in theirs.layout if name[:5] in ("xaxis", "yaxis")]:
        their, our = theirs.layout[name].to_plotly_json(), ours.layout[name].to_plotly_json()
        assert our.pop("domain") == pytest.approx(their.pop("domain")) and our == their
    for our_title, their_title in zip(ours.layout.annotations, theirs.layout.annotations, strict=True):
        our, their = our_title.to_plotly_json(), their_title.to_plotly_json()
        for letter in ("x", "y"):
            assert our.pop(letter) == pytest.approx(their.pop(letter))
        assert our == their


@pytest.mark.parametrize("gap", [0.0, 0.025, 0.09, 0.3 / 7])
def test_rounding_leads_beyond_no_edge(gap: float) -> None:
    for columns in range(1, 12):
        assert all(0 <= box.x[0] < box.x[1] <= 1 for box in grid(columns, columns, gap if columns < 8 else 0.0))


def test_a_row_that_is_not_full_has_no_empty_panel() -> None:
    drawing = Drawing.of_panels(["a", "b", "c"], grid(3, 2))
    figure = drawing.figure(dark=True)
    assert sorted(name for name in figure.layout if name.startswith("xaxis")) == ["xaxis", "xaxis2", "xaxis3"]
    assert [drawing.first_of_row(panel) for panel in (1, 2, 3)] == [1, 1, 3]


def test_what_is_drawn_stands_on_its_panel_in_the_look_of_all_figures() -> None:
    drawing = Drawing.of_panels(["a", "b"], grid(2, 2), shared=False)
    drawing.trace("bar", 2, x=[1], y=[2])
    drawing.rectangle(2, x0=0, x1=1, y0=2, y1=3)
    drawing.across(5, 2, line={"width": 3})
    drawing.upward(7)
    drawing.words("here", 2, x=1, y=2)
    drawing.words("at the top", 2, within="y", x=1, y=1)
    drawing.axis("x", 2, nticks=3)
    drawing.axes("x", fixedrange=True)
    figure = drawing.figure(dark=True, height=123)
    assert (figure.data[0].type, figure.data[0].xaxis, figure.data[0].yaxis) == ("bar", "x2", "y2")
    box, across, upward = figure.layout.shapes
    assert figure.layout.yaxis2.matches is None and figure.layout.yaxis2.showticklabels is None
    assert (box.type, box.xref, box.yref, box.y1) == ("rect", "x2", "y2", 3)
    assert (across.xref, across.x1, across.yref, across.y0, across.y1) == ("x2 domain", 1, "y2", 5, 5)
    assert (upward.yref, upward.y1, upward.xref, upward.x0, upward.x1) == ("y domain", 1, "x", 7, 7)
    here, top = figure.layout.annotations[2:]
    assert (here.text, here.xref, here.yref) == ("here", "x2", "y2")
    assert (top.text, top.xref, top.yref, top.y) == ("at the top", "x2", "y2 domain", 1)
    assert not Drawing.of_panels([""], grid(1, 1)).annotations
    assert figure.layout.xaxis.fixedrange and figure.layout.xaxis2.fixedrange
    assert (figure.layout.xaxis.nticks, figure.layout.xaxis2.nticks, figure.layout.height) == (None, 3, 123)
    assert figure.layout.template.layout.font.color == style.ink(True)


def test_a_name_that_plotly_does_not_know_is_no_silent_loss() -> None:
    drawing = Drawing()
    drawing.axis("x", colour="red")
    with pytest.raises(ValueError, match="colour"):
        drawing.figure(dark=False)
