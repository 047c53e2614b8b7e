"""The picture of a sweep: a panel per task and size, a place for every fine-tune, dots, means, names."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import plotly.graph_objects as go
import pytest

from beft_core.sweeps.importance import Importance
from beft_core.sweeps.spec import SweepSpec, trains
from beft_core.terms import TERMS
from dashboard.figures.parts import style
from dashboard.figures.sweep import LINE, MAX_PANELS, NARROW, by_setting, by_term_and_rate, colour_of, name_of

pd = pytest.importorskip("pandas")

SPEC = SweepSpec(
    ("sst2", "rte"),
    n_train=(300,),
    terms=("v", "q+v", "head", "all"),
    lrs=(1e-3, 1e-2),
    probe_lrs=(1e-4,),
    seeds=(0, 1, 2),
)


BY_RATE = {1e-3: 0.0, 1e-2: 0.3, 1e-4: 0.1}
"""What a learning rate adds: no two are alike, so that a dot or a mean at the place of another is seen."""


def rows(finished: Any = lambda row: True, spec: SweepSpec = SPEC, added: dict[float, float] = BY_RATE) -> Any:
    """The grid; for what is finished 0.5, a hundredth more per seed, and what its learning rate adds."""
    table = [
        {"task": c.task, "size": f"{c.n_train} examples", "trains": trains(c), "lr": c.lr, "seed": c.seed}
        for c in spec.runs()
    ]
    for row in table:
        value = 0.5 + row["seed"] / 100 + added[row["lr"]]
        row |= {"metric": "accuracy", "value": value} if finished(row) else {"metric": None}
    return pd.DataFrame(table, columns=["task", "size", "trains", "lr", "seed", "metric", "value"])


@pytest.mark.parametrize(("terms", "rates", "whole"), [(6, 3, True), (6, 10, False), (3, 40, False), (8, 15, False)])
def test_learning_rates_do_not_run_into_each_other(terms: int, rates: int, whole: bool) -> None:
    lrs = tuple(float(f"{1e-4 * 1.2**step:.3g}") for step in range(rates))
    spec = SweepSpec(("sst2",), terms=tuple(TERMS)[:terms], lrs=lrs, seeds=(0,))
    axis = by_term_and_rate(rows(spec=spec, added=dict.fromkeys(lrs, 0.0))).layout.xaxis
    pixels = NARROW / (axis.range[1] - axis.range[0])
    assert min(b - a for a, b in pairwise(axis.tickvals)) * pixels >= LINE
    assert (len(axis.tickvals) == terms * rates) == whole
    assert list(axis.ticktext).count(f"{lrs[0]:g}") == terms  # the first of each


def traces(figure: go.Figure, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.name == name]


@pytest.mark.parametrize("dark", [False, True])
def test_a_dot_per_seed_and_a_line_at_the_mean(dark: bool) -> None:
    figure = by_term_and_rate(rows(), dark)
    first, second = traces(figure, "v")
    assert sorted(first.y) == pytest.approx([50, 51, 52, 80, 81, 82])
    assert (first.yaxis, second.yaxis) == ("y", "y2")
    assert len(set(first.x)) == 6  # seeds beside each other
    label = dict(zip(figure.layout.xaxis.tickvals, figure.layout.xaxis.ticktext, strict=True))
    for what, rates in (("v", ["0.001", "0.01"]), ("head", ["0.001", "0.01"]), ("all", ["0.0001"])):
        mean, dots = traces(figure, f"mean {what}")[0], traces(figure, what)[0]
        assert [label[x] for x in mean.x] == rates
        assert list(mean.y) == pytest.approx([51 + 100 * BY_RATE[float(rate)] for rate in rates])
        for x, y, words in zip(dots.x, dots.y, dots.customdata, strict=True):
            rate = label[min(label, key=lambda at, x=x: abs(at - x))]
            assert f"learning rate {rate}, seed" in words
            assert y == pytest.approx(50 + int(words.split("seed ")[1][0]) + 100 * BY_RATE[float(rate)])
    for at in figure.layout.xaxis.tickvals[:2]:  # the seeds of a rate stand round its place
        here = [x for x in first.x if abs(x - at) < 0.5]
        assert len(here) == 3 and sum(here) / 3 == pytest.approx(at)
    assert [figure.layout.xaxis.ticktext[at] for at in (0, 1, -1)] == ["0.001", "0.01", "0.0001"]
    assert first.marker.color == style.TERM_COLOURS["v"] and traces(figure, "head")[0].marker.color == style.ink(dark)
    titles = [a.text for a in figure.layout.annotations if "accuracy" in a.text]
    assert titles == ["<b>SST-2, 300 examples: accuracy, %</b>", "<b>RTE, 300 examples: accuracy, %</b>"]
    seeds = [words.split("seed ")[1][0] for _, words in sorted(zip(first.x, first.customdata, strict=True))]
    assert seeds == ["0", "1", "2"] * 2  # beside each other from the left
    assert any("seed 2" in words and "52.0 %" in words for words in first.customdata)


def test_nothing_moves_when_others_finish() -> None:
    part = by_term_and_rate(rows(lambda row: row["task"] == "sst2" and row["trains"] == "all"))
    whole = by_term_and_rate(rows())
    (here,) = traces(part, "all")
    assert list(here.x) == list(traces(whole, "all")[0].x)
    assert (
        part.layout.xaxis.tickvals == whole.layout.xaxis.tickvals
        and part.layout.xaxis.range == whole.layout.xaxis.range
    )
    assert part.layout.height * 2 == whole.layout.height  # no panel for what has no value yet
    assert not len(traces(part, "v")[0].x)


def test_many_panels_are_bounded_and_none_is_empty() -> None:
    many = SweepSpec(n_train=tuple(range(100, 100 + MAX_PANELS + 4)), terms=("v",))
    figure = by_term_and_rate(rows(spec=many))
    assert len(traces(figure, "v")) == MAX_PANELS
    assert not by_term_and_rate(rows(lambda row: False)).data


def test_names_and_colours() -> None:
    assert name_of("q+v") == "b<sub>q</sub> + b<sub>v</sub>" and name_of("head") == "head"
    assert colour_of("q", False) == style.TERM_COLOURS["q"] and colour_of("q+v", False) == style.ink(False)
    assert colour_of("all", True) == colour_of("lora rank=4", True) == style.ink(True)
    assert name_of("lora rank=4") == "LoRA, rank 4"


def test_small_differences_look_small_and_chance_is_drawn() -> None:
    """Values of 49.6 to 50 % once filled the axis, and nothing said that guessing gets 50."""
    table = rows().assign(value=lambda t: 0.496 + 0.002 * t["seed"])
    figure = by_term_and_rate(table)
    low, high = figure.layout.yaxis.range
    assert 10 <= high - low < 12 and low < 49.6 and high > 50
    lines = [shape for shape in figure.layout.shapes if shape.name == "chance"]
    assert [shape.y0 for shape in lines] == [50, 50] and [shape.yref for shape in lines] == ["y", "y2"]
    assert [note.text for note in figure.layout.annotations].count("chance") == 2
    far = by_term_and_rate(rows().assign(value=0.9)).layout.yaxis.range
    assert far[0] < 50 < 90 < far[1]  # chance is in sight


def test_a_metric_without_a_chance_has_no_line() -> None:
    figure = by_term_and_rate(rows().assign(metric="f1", value=0.81))
    assert not figure.layout.shapes and figure.layout.yaxis.range[1] - figure.layout.yaxis.range[0] >= 10


def test_a_bar_for_each_setting_and_what_chance_explains() -> None:
    found = [
        Importance("rte", "accuracy", "lr", 0.75, 1 / 7, 2, 8),
        Importance("rte", "accuracy", "seed", 0.02, 0.5, 5, 9),
    ]
    bars, chance, words = by_setting(found).data
    assert list(bars.y) == ["seed", "learning rate"] and list(bars.x) == [2, 75]  # the first is on top
    assert list(chance.x) == pytest.approx([50, 100 / 7])
    assert list(words.text) == [" 2 %", " 75 %"] and list(words.x) == [50, 75]  # beyond bar and mark
