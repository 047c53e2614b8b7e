"""What a figure shows is said in numbers, of each type of trace, in a bounded text without tags."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from dashboard.figures.parts.alt import MOST, numbers


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        (go.Scatter(x=[0, 1, 2], y=[0.58, 0.3, 0.08], mode="lines", name="<b>v</b>"), "v 0.58 at 0 to 0.08 at 2"),
        (go.Scatter(x=[0, 1, 2], y=[None, 0.3, np.nan], mode="lines", name="a"), "a 0.3 at 1"),
        (go.Scatter(x=["low", "high"], y=[1, 2], mode="markers", name="a"), "a 1 at low, 2 at high"),
        (go.Scatter(x=list(range(99)), y=list(range(99)), mode="markers"), "99 points from 0 to 98"),
        (go.Scatter(x=[0, 1], y=[5, 5], mode="lines"), ""),
        (go.Scatter(x=[0, 1], y=[5, 5], mode="lines", name="base"), "base 5 at 0 to 5 at 1"),
        (go.Bar(x=[0.77, 0.72], y=["SST-2", "STS-B &amp; more"], orientation="h"), "SST-2 0.77, STS-B & more 0.72"),
        (go.Bar(x=["q", "v"], y=[1, None], name="score"), "score q 1"),
        (go.Bar(x=list(range(40)), y=[1.5] * 40), "40 bars from 1.5 to 1.5"),
        (go.Heatmap(z=[[1, 2], [3, None]], x=["b_q", "b_v"], y=[0, 1]), "highest 3 at b_q, 1, lowest 1 at b_q, 0"),
        (go.Heatmap(z=[[None]]), ""),
        (go.Scatter(x=[0], y=[1], name="hidden", visible=False), ""),
        (go.Scatter(x=[], y=[], name="nothing"), ""),
        (go.Table(), ""),
    ],
)  # fmt: skip
def test_each_type_of_trace(trace: go.Scatter, said: str) -> None:
    assert numbers(go.Figure(trace)) == said


def test_places_have_the_words_of_their_axis() -> None:
    figure = go.Figure(go.Heatmap(z=[[None, 84.0], [84.0, None]], x=[0, 1], y=[0, 1]))
    figure.update_xaxes(tickvals=[0, 1], ticktext=["SST-2", "STS-B,<br>seed 1"])
    figure.update_yaxes(tickvals=[0, 1], ticktext=["SST-2 ", "STS-B "])
    assert numbers(figure) == "highest 84 at STS-B, seed 1, SST-2, lowest 84 at STS-B, seed 1, SST-2"


def test_traces_are_listed_once_and_the_text_is_bounded() -> None:
    twice = [go.Scatter(x=[0, 1], y=[1, 2], name="a")] * 2
    assert numbers(go.Figure(twice)) == "a 1 at 0 to 2 at 1"
    many = numbers(go.Figure([go.Scatter(x=[0, 1], y=[1, n], name=f"line {n}") for n in range(2, 99)]))
    assert len(many) <= MOST + 10 and many.endswith("; and more") and "line 2 1 at 0 to 2 at 1; line 3" in many
