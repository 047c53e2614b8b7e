"""The picture of methods: a place for each by its trained values, hollow and filled marks, intervals, colours."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go
import pytest

from dashboard.figures.methods import BESIDE, BEST, CUT, SAME, MethodMark, value_by_size
from dashboard.figures.parts import style

MARKS = [
    MethodMark("v", 2304, 0.80, 0.78, 0.82),
    MethodMark("v", 2304, 0.75, 0.70, 0.79, same=True),
    MethodMark("q", 2304, 0.79, 0.77, 0.81),
    MethodMark("q+v", 4608, 0.81),
    MethodMark("fish", 2304, 0.70),
    MethodMark("lora", 73_728, 0.83, 0.81, 0.85, about="learning rate 0.0005"),
    MethodMark("lora", 73_728, 0.505, 0.49, 0.53, same=True),
    MethodMark("full", 22_713_216, 0.86),
    MethodMark("none", 0, 0.62),
]


def drawn(marks: list[MethodMark] = MARKS, **how: Any) -> tuple[go.Figure, dict[str, list[Any]]]:
    """The figure, and its marks by name: x, y, marker."""
    figure = value_by_size(marks, "accuracy", **how)
    found: dict[str, list[Any]] = {}
    for trace in figure.data:
        if trace.mode == "markers" and trace.customdata is not None:
            found[trace.name] = [trace.x[0], trace.y[0], trace.marker, trace.customdata[0]]
    return figure, found


def test_a_mark_for_each_method_and_setting_at_its_value() -> None:
    _, found = drawn()
    assert len(found) == len(MARKS)
    assert found[f"LoRA, {BEST}"][1] == pytest.approx(83) and found[f"LoRA, {SAME}"][1] == pytest.approx(50.5)
    assert found[f"LoRA, {BEST}"][0] == found[f"LoRA, {SAME}"][0], "one place for both"
    words = found[f"LoRA, {BEST}"][3]
    assert "83.0 %, 95 % interval 81.0 to 85.0" in words and "73,728 trained values" in words and "0.0005" in words
    assert "nothing is trained" in found[f"zero-shot, {BEST}"][3]


@pytest.mark.parametrize("dark", [False, True])
def test_hollow_at_the_papers_settings_and_only_terms_have_a_terms_colour(dark: bool) -> None:
    _, found = drawn(dark=dark)
    v, paper = (found[f"b<sub>v</sub>, {half}"][2] for half in (BEST, SAME))
    assert v.color == v.line.color == paper.line.color == style.TERM_COLOURS["v"] and paper.color == style.ground(dark)
    others = {name: one[2].line.color for name, one in found.items() if not name.startswith("b<sub>")}
    assert set(others.values()) == {style.ink(dark)} and len(others) == 5
    assert found[f"b<sub>q</sub> + b<sub>v</sub>, {BEST}"][2].line.color == style.ink(dark)
    symbols = {name.split(",")[0]: one[2].symbol for name, one in found.items()}
    assert (symbols["LoRA"], symbols["every weight"], symbols["FISH mask"]) == ("diamond", "star", "hexagon")
    assert symbols["zero-shot"] == "x" and symbols["b<sub>v</sub>"] == "circle"


def test_places_follow_the_logarithm_and_equal_numbers_stand_beside_each_other() -> None:
    figure, found = drawn(width=400)
    place = {name.split(", " + BEST)[0]: math.log10(one[0]) for name, one in found.items() if name.endswith(BEST)}
    equal = [place[name] for name in ("b<sub>v</sub>", "b<sub>q</sub>", "FISH mask")]
    span = math.log10(22_713_216) - math.log10(230.4)
    least = BESIDE * span / 400
    assert min(abs(a - b) for a in equal for b in equal if a != b) >= least - 1e-9
    assert abs(sum(equal) / 3 - math.log10(2304)) < 2 * least
    wide, _ = drawn(width=4000)
    assert wide.layout.xaxis.range != figure.layout.xaxis.range, "with more room they stand nearer to their number"
    assert place["LoRA"] == pytest.approx(math.log10(73_728)) and place["every weight"] > place["LoRA"]
    assert place["zero-shot"] == min(place.values())
    ticks = dict(zip(figure.layout.xaxis.ticktext, figure.layout.xaxis.tickvals, strict=True))
    assert ticks["none"] == pytest.approx(10 ** place["zero-shot"]) and ticks["10 k"] == 1e4 and ticks["10 M"] == 1e7
    names = {one.name: one.x for one in figure.layout.annotations if one.name}
    assert names["lora"] == pytest.approx(place["LoRA"]), "annotations take logarithms"


def test_intervals_reach_from_end_to_end_and_nothing_leaves_the_axis() -> None:
    figure, found = drawn(constant=0.509)
    bars = {trace.name: trace.error_y for trace in figure.data if trace.error_y.visible}
    assert len(bars) == sum(mark.low is not None for mark in MARKS)
    lora, y = bars[f"LoRA, {BEST}"], found[f"LoRA, {BEST}"][1]
    assert (y - lora.arrayminus[0], y + lora.array[0]) == (pytest.approx(81), pytest.approx(85))
    low, high = figure.layout.yaxis.range
    assert low < 49 and high > 86
    level = [line for line in figure.layout.shapes if line.y0 == line.y1]
    assert [line.y0 for line in level] == [pytest.approx(50.9)]
    joined = [
        sorted((line.y0, line.y1)) for line in figure.layout.shapes if line.line.dash == "dot" and line.y0 != line.y1
    ]
    assert sorted(joined) == [[pytest.approx(50.5), pytest.approx(83)], [pytest.approx(75), pytest.approx(80)]]


def test_an_interval_of_everything_does_not_flatten_the_others() -> None:
    """Two seeds that disagree: what leaves the picture ends in a triangle, and the pointer has it all."""
    wide = MethodMark("dora", 78_336, 0.63, 0.0, 1.0, same=True)
    near = [mark for mark in MARKS if mark.value > 0.7]
    figure, found = drawn([*near, wide])
    plain_span, span = (one[1] - one[0] for one in (drawn(near)[0].layout.yaxis.range, figure.layout.yaxis.range))
    assert span < 3 * plain_span < 100
    low, high = figure.layout.yaxis.range
    cuts = {trace.marker.symbol: (trace.x[0], trace.y[0]) for trace in figure.data if trace.name == CUT}
    assert set(cuts) == {"triangle-down", "triangle-up"}
    name = f"DoRA, {SAME}"
    (bar,) = [trace.error_y for trace in figure.data if trace.name == name]
    for symbol, end in (("triangle-down", 63 - bar.arrayminus[0]), ("triangle-up", 63 + bar.array[0])):
        assert cuts[symbol] == (found[name][0], pytest.approx(end)) and low < end < high
    assert "95 % interval 0.0 to 100.0" in found[name][3]
    assert CUT not in [trace.name for trace in drawn(constant=0.509)[0].data]
    alike = [MethodMark(method, 10, 0.5, 0.42, 0.58) for method in ("v", "q", "k", "fish")]
    figure, _ = drawn([*alike, wide])
    assert figure.layout.yaxis.range[0] < 42 and figure.layout.yaxis.range[1] > 63, "usual intervals are seen whole"
    assert [trace.y[0] for trace in figure.data if trace.name == CUT] == pytest.approx([34, 79])


def test_small_differences_look_small_and_strange_names_are_escaped() -> None:
    figure, found = drawn([MethodMark("v", 10, 0.8), MethodMark("<b>x</b>", 10, 0.8001), MethodMark(" ", 10, 0.8)])
    low, high = figure.layout.yaxis.range
    assert high - low >= 10 and any("&lt;b&gt;" in name for name in found)
    assert value_by_size([], "accuracy").layout.height
    assert value_by_size([MethodMark("none", 0, 0.5)], "accuracy").layout.height


def test_a_name_of_its_own_stands_in_place_of_what_was_trained_but_for_bias_terms() -> None:
    named = [MethodMark("v", 10, 0.8, label="b_v"), MethodMark("icl", 0, 0.6, label="in-context learning")]
    _, found = drawn(named)
    assert set(found) == {f"b<sub>v</sub>, {BEST}", f"in-context learning, {BEST}"}
    _, null = drawn([MethodMark("k", 0, 0.6), MethodMark("v", 10, 0.8)])
    assert null[f"b<sub>k</sub>, {BEST}"][2].symbol == "circle"  # frozen, and a term all the same
    assert found[f"in-context learning, {BEST}"][2].symbol == "x"
