"""Figures of answers: rows, bars and hostile names."""

from __future__ import annotations

import pytest

from dashboard.figures.answers.layers import TOGETHER, Apart, by_layer
from dashboard.figures.answers.shift import Shifted, shifts


def test_a_row_from_ring_to_dot() -> None:
    figure = shifts(
        [Shifted("b_v", 0.2, 0.9, "#D55E00"), Shifted("<b>x</b>", 0.6, 0.4, "#0072B2")], (0, 1), "p of <i>good</i>"
    )
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert [list(line.x) for line in lines] == [[0.2, 0.9], [0.6, 0.4]]
    rings, dots = (trace for trace in figure.data if trace.mode == "markers")
    assert list(rings.x) == [0.2, 0.6] and list(dots.x) == [0.9, 0.4]
    assert "&lt;b&gt;" in figure.layout.yaxis.ticktext[1] and "&lt;i&gt;" in figure.layout.xaxis.title.text
    assert [a.text for a in figure.layout.annotations] == ["<b>0.90</b>", "<b>0.40</b>"]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_panel_for_each_fine_tune_on_one_scale(count: int) -> None:
    parts = [Apart(f"run {n}", {0: 0.5, 3: -1.0 - n}, 0.25, "#D55E00") for n in range(count)]
    figure = by_layer(parts, "change")
    assert len(figure.data) == count
    assert list(figure.data[0].x) == ["0", "3", TOGETHER] and list(figure.data[0].y) == [0.5, -1.0, 0.25]
    ranges = {tuple(axis.range) for axis in figure.select_yaxes()}
    assert len(ranges) == 1 and next(iter(ranges))[0] < -1.0 - (count - 1)
