"""Figures of a dial: the place that is looked at says whether it was measured, costs have their intervals."""

from __future__ import annotations

import dataclasses

import pytest
from example_dials import example_dial

from beft_core.dials.parts import ALL, Part
from dashboard.figures.curves.dial import costs_beside_scores, costs_over_scores, over_lambda
from dashboard.figures.parts import style


def traces(figure: object) -> dict[str, object]:
    return {trace.name: trace for trace in figure.data}  # type: ignore[attr-defined]


@pytest.mark.parametrize("dark", [False, True])
def test_a_measured_place_is_full_and_one_between_is_hollow(dark: bool) -> None:
    dial = example_dial()
    colour = style.TERM_COLOURS["v"]
    full = traces(over_lambda(dial, ALL, 0.5, dark))
    here, line = full["here"], full["measured"]
    assert here.marker.color == colour and list(line.x) == list(dial.lambdas)  # type: ignore[attr-defined]
    assert here.y[0] == line.y[line.x.index(0.5)]  # type: ignore[attr-defined]
    assert "band" in full
    hollow = traces(over_lambda(dial, Part(layer=2), 0.6, dark))["here"]
    assert hollow.marker.color == style.ground(dark) and hollow.marker.line.color == colour  # type: ignore[attr-defined]


def test_what_is_not_finite_is_left_out() -> None:
    dial = example_dial()
    whole = dial.curves[0]
    broken = dataclasses.replace(whole, values=(None, *whole.values[1:]), low=(None, *whole.low[1:]))
    figure = over_lambda(dataclasses.replace(dial, curves=(broken, *dial.curves[1:])), ALL, -1.0)
    assert len(traces(figure)["measured"].x) == len(dial.lambdas) - 1 and "here" not in traces(figure)  # type: ignore[attr-defined]


def test_costs_stand_beside_the_score_of_the_same_layer() -> None:
    dial = example_dial()
    (test,) = dial.tests
    rule = test.rules[0]
    cost, score = costs_beside_scores(dial, dial.off_parts("layers"), test, rule).data
    assert list(cost.y) == list(score.y) == ["layer 0", "layer 1", "layer 2"]
    assert list(cost.x) == pytest.approx([2, 5, 20]) and list(score.x) == pytest.approx(rule.scores)
    assert list(cost.error_x.array) == pytest.approx([0.4] * 3) == list(cost.error_x.arrayminus)
    (alone,) = costs_beside_scores(dial, dial.off_parts("layers"), None, None).data
    assert alone.name == "cost"


def test_terms_have_their_colours_and_cells_their_places() -> None:
    dial = example_dial(("q", "k", "v"))
    cells = dial.test("cells")
    assert cells is not None
    figure = costs_over_scores(cells, cells.rules[0])
    assert [trace.marker.color for trace in figure.data] == [style.TERM_COLOURS[term] for term in "qkv"]
    assert [len(trace.x) for trace in figure.data] == [3, 3, 3]
    bars = costs_beside_scores(dial, dial.off_parts("terms"), dial.test("terms"), None).data[0]
    assert list(bars.marker.color) == [style.TERM_COLOURS[term] for term in "qkv"]
    layers = costs_beside_scores(dial, dial.off_parts("layers"), None, None).data[0]
    assert set(layers.marker.color) == {style.ink(False)}  # of several terms: nobody's colour
