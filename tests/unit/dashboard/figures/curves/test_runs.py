"""Figures of several runs: one line each, thinned, with looks that tell them apart."""

from __future__ import annotations

import pytest

from beft_core.runs.curves import Curve
from dashboard.figures.curves.runs import DASHES, MAX_POINTS, Line, Look, looks, overlay
from dashboard.figures.parts import style


def lines(count: int, points: int = 5) -> list[Line]:
    curve = Curve(list(range(points)), [float(i % 7) for i in range(points)])
    return [Line(f"run {i}", curve, look) for i, look in enumerate(looks([()] * count))]


def test_a_line_for_each_run_with_its_values() -> None:
    figure = overlay(lines(3), "loss")
    assert [trace.name for trace in figure.data] == ["run 0", "run 1", "run 2"]
    assert list(figure.data[1].x) == [0, 1, 2, 3, 4] and list(figure.data[1].y) == [0, 1, 2, 3, 4]
    assert figure.layout.yaxis.title.text == "loss" and {trace.mode for trace in figure.data} == {"lines"}
    assert {trace.mode for trace in overlay(lines(1), "accuracy", marks=True).data} == {"lines+markers"}


def test_the_axis_is_the_runs_own_where_they_differ_and_calm_where_they_stand_still() -> None:
    def axis(*values: float) -> tuple[float, float] | None:
        one = Line("run", Curve(list(range(len(values))), list(values)), Look(None))
        return overlay([one], "accuracy").layout.yaxis.range

    assert axis(0.70, 0.75, 0.80) is None
    assert axis(0.75, 0.76) == pytest.approx((0.73, 0.78))


def test_long_runs_are_thinned() -> None:
    (trace,) = overlay(lines(1, 50_000), "loss").data
    assert 500 <= len(trace.x) <= MAX_POINTS and trace.x[-1] == 49_999


def test_runs_of_single_terms_have_the_colours_of_their_terms() -> None:
    assert looks([("v",), ("q",), ("v",), ("q", "v")]) == [Look("v"), Look("q"), Look("v", "dash"), Look(None)]
    (line,) = overlay([Line("run", Curve([0, 1], [0.0, 1.0]), Look("v"))], "loss").data
    assert line.line.color == style.TERM_COLOURS["v"].lower()
    assert Look(None).colour(dark=True) == style.ink(dark=True)


@pytest.mark.parametrize("terms", [[("v",)] * 12, [("v",), ("q", "v"), ()] * 4, [()] * 18])
def test_runs_of_one_colour_have_looks_of_their_own(terms: list[tuple[str, ...]]) -> None:
    chosen = looks(terms)
    assert len(set(chosen)) == len(terms) and {look.dash for look in chosen} <= set(DASHES)
    for dark in (False, True):
        assert len({(look.colour(dark), look.dash) for look in chosen}) == len(terms)


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_to_draw_is_an_empty_figure(dark: bool) -> None:
    assert not overlay([], "loss", dark).data


def test_the_legend_has_room() -> None:
    assert overlay(lines(12), "loss").layout.height - overlay(lines(2), "loss").layout.height >= 10 * 19
    many = overlay(lines(200), "loss")
    assert len(many.data) == 200 and not many.layout.showlegend and many.layout.height < 400
