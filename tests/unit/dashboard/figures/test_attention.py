"""Figures of the proofs: strangers' tokens, exact zeros, noise that is drawn as noise."""

from __future__ import annotations

import numpy as np

from dashboard.figures.attention import CLASSES, ZERO, by_layer, changes, maps, push, span
from dashboard.figures.curves.growth import Growth, growth
from dashboard.figures.parts import style


def test_maps_show_the_difference_and_escape_the_visitors_words() -> None:
    before, after = np.array([[0.5, 0.5], [0.2, 0.8]]), np.array([[0.5, 0.5], [0.6, 0.4]])
    figure = maps(before, after, ["<a href='x'>", "b & c"])
    np.testing.assert_allclose(figure.data[2].z, [[0, 0], [0.4, -0.4]])
    assert figure.layout.xaxis.ticktext[0] == "&lt;a href='x'&gt;" and "<a" not in str(figure.data[0].customdata)
    assert not [a for a in figure.layout.annotations if a.name == "no change"]
    same = maps(before, before, ["a", "b"])
    assert [a.text for a in same.layout.annotations if a.name == "no change"] == ["<b>no change</b>"]


def test_before_and_after_share_a_scale_that_reaches_the_larger_of_them() -> None:
    flat, sharp = np.array([[0.5, 0.5], [0.4, 0.6]]), np.array([[0.1, 0.9], [0.3, 0.7]])
    for before, after in ((flat, sharp), (sharp, flat)):
        figure = maps(before, after, ["a", "b"])
        assert [trace.coloraxis for trace in figure.data] == ["coloraxis", "coloraxis", "coloraxis2"]
        assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 0.9)


def test_changes_place_an_exact_zero_and_keep_the_others() -> None:
    figure = changes({"x": {"float64": 0.0, "float32": 4e-7}, "y": {"float64": 1.5, "float32": 1.5}}, "v")
    double, single = figure.data
    assert list(double.x) == [ZERO, 1.5] and list(double.text) == ["exactly 0", "1.5"]
    assert single.text[0] == "4.0·10<sup>-7</sup>" and figure.layout.xaxis.range[0] < np.log10(ZERO)


def test_lines_of_a_layer_figure_lie_within_it_also_where_nothing_moved() -> None:
    for shares in ([0.0, 0.0], [0.0, 0.3]):
        low, high = by_layer({"v": shares}, 0).layout.yaxis.range
        assert low < min(shares) and high > max(shares)


def test_noise_is_dotted_and_flagged() -> None:
    run = Growth("x", [0, 10], {"k": [0, 1.0], "v": [0, 0.5]}, frozenset("k"))
    figure = growth([run])
    assert [trace.line.dash for trace in figure.data] == ["dot", "solid"]
    assert ["⚠" in a.text for a in figure.layout.annotations if a.name == "end"] == [True, False]


def test_a_push_shows_attention_and_logits_before_and_after_on_one_scale() -> None:
    before, after = np.array([[0.9, 0.1], [0.25, 0.75]]), np.array([[0.5, 0.5], [0.25, 0.75]])
    logits = ([0.1, -0.2], [0.4, -0.2])
    figure = push((before, after), ["<b>x", "y"], logits, span(logits), "v")
    drawn = [trace for trace in figure.data if trace.type == "heatmap"]
    assert all(np.allclose(np.square(trace.z), values) for trace, values in zip(drawn, (before, after), strict=True))
    assert drawn[0].text[0][0] == "from <b>&lt;b&gt;x</b> to <b>&lt;b&gt;x</b>: 0.9000"
    dots = {trace.name: trace for trace in figure.data if trace.name in ("before", "after")}
    assert (tuple(dots["before"].x), tuple(dots["after"].x)) == (tuple(logits[0]), tuple(logits[1]))
    assert dots["after"].marker.color == style.TERM_COLOURS["v"] and dots["before"].marker.color == style.ink(
        dark=False
    )
    low, high = figure.layout.xaxis3.range
    assert low < -0.2 and high > 0.4 and (low, high) == span(logits)
    assert tuple(figure.layout.yaxis3.ticktext) == CLASSES


def test_logits_that_do_not_differ_have_an_axis() -> None:
    low, high = span([[0.5, 0.5]])
    assert low < 0.5 < high
