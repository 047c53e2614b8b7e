"""Figures leave the dashboard as files: one page of HTML that needs no network, and pictures where a browser is."""

from __future__ import annotations

import re

import plotly.graph_objects as go
import pytest

from dashboard.figures.parts import style
from dashboard.shared import figure as shown


@pytest.fixture
def plot() -> go.Figure:
    figure = go.Figure(go.Bar(x=["a", "b"], y=[1, 2]))
    figure.add_annotation(text="here", font_size=10)
    return figure.update_layout(template=style.template(False), height=200)


@pytest.mark.parametrize("dark", [False, True])
def test_html_is_whole_and_stands_on_the_ground_of_its_theme(plot: go.Figure, dark: bool) -> None:
    page = shown.html(plot, dark)
    assert not re.search(r'<(script|link)[^>]+(src|href)="', page)
    assert style.ground(dark) in page
    assert re.search(r'"showSendToCloud":\s*false', page) and not re.search(r'"showSendToCloud":\s*true', page)
    assert plot.layout.paper_bgcolor is None  # the figure on the page stays as it was


@pytest.mark.parametrize(("kind", "signature"), [("png", b"\x89PNG"), ("svg", b"<svg")])
def test_pictures(plot: go.Figure, kind: str, signature: bytes) -> None:
    if shown.picture_browser() is None:
        pytest.skip("no browser to draw with")
    assert shown.picture(plot, kind, dark=False).startswith(signature)


def test_without_the_package_there_are_no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown.importlib.util, "find_spec", lambda name: None)
    assert shown.picture_browser() is None


def test_a_room_sees_larger_type(plot: go.Figure) -> None:
    larger = shown._larger(plot, 1.2)
    assert larger.layout.font.size == pytest.approx(13 * 1.2)
    assert larger.layout.annotations[0].font.size == pytest.approx(10 * 1.2)
    assert larger.layout.height == pytest.approx(200 * 1.2)
    plot.update_layout(margin_t=20)
    margins = shown._larger(plot, 1.5).layout.margin
    assert margins.t == 30 and margins.b == pytest.approx(1.5 * plot.layout.template.layout.margin.b)
    assert plot.layout.annotations[0].font.size == 10 and plot.layout.height == 200


def test_in_a_room_type_with_a_size_of_its_own_grows_too() -> None:
    figure = go.Figure(go.Bar(x=[1], y=["a"], text=["1"], textfont={"size": 12}))
    figure.update_yaxes(tickfont={"size": 15}).update_xaxes(title={"text": "x", "font": {"size": 12}})
    larger = shown._larger(figure, 1.2)
    grown = [larger.data[0].textfont.size, larger.layout.yaxis.tickfont.size, larger.layout.xaxis.title.font.size]
    assert grown == pytest.approx([size * 1.2 for size in (12, 15, 12)])
    assert figure.data[0].textfont.size == 12
