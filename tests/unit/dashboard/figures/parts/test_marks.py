"""An arrow ends where it points, and a band fills what lies between its edges."""

from __future__ import annotations

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard.figures.parts.marks import draw_arrow, draw_band


def test_an_arrow_leads_from_tail_to_tip() -> None:
    figure = go.Figure()
    draw_arrow(figure, (1.0, 2.0), (3.0, 5.0), "#123456", "before")
    (arrow,) = figure.layout.annotations
    assert (arrow.ax, arrow.ay, arrow.x, arrow.y) == (1, 2, 3, 5)
    assert (arrow.axref, arrow.ayref, arrow.xref, arrow.yref) == ("x", "y", "x", "y")  # both ends move with the axes
    assert arrow.arrowcolor == "#123456" and arrow.name == "before"


def test_a_band_goes_along_its_lower_edge_and_back_along_the_upper() -> None:
    figure = make_subplots(1, 2)
    draw_band(figure, [0, 1, 2], [1.0, 2.0, 3.0], [4.0, 6.0, 8.0], "#123456", {"row": 1, "col": 2})
    (band,) = figure.data
    assert list(zip(band.x, band.y, strict=True)) == [(0, 1), (1, 2), (2, 3), (2, 8), (1, 6), (0, 4)]
    assert band.xaxis == "x2" and band.fill == "toself" and not band.showlegend
