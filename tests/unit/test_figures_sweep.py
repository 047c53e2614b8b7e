"""The picture of a sweep: a panel per task and size, a place for every fine-tune, dots, means, names."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import pytest

from beft_core.sweeps.spec import SweepSpec, trains
from dashboard.figures import style
from dashboard.figures.sweep import MOST_PANELS, by_term_and_rate, colour_of, name_of

pd = pytest.importorskip("pandas")

SPEC = SweepSpec(
    ("sst2", "rte"), n_train=(300,), terms=("v", "q+v", "head", "all"), lrs=(1e-3, 1e-2), probe_lrs=(1e-4,),
    seeds=(0, 1, 2),
)  # fmt: skip


def rows(finished: Any = lambda row: True, spec: SweepSpec = SPEC) -> Any:
    """The grid, with 0.5 plus a hundredth per seed for what is finished."""
    table = [
        {"task": c.task, "size": f"{c.n_train} examples", "trains": trains(c), "lr": c.lr, "seed": c.seed}
        for c in spec.runs()
    ]
    for row in table:
        row |= {"metric": "accuracy", "value": 0.5 + row["seed"] / 100} if finished(row) else {"metric": None}
    return pd.DataFrame(table, columns=["task", "size", "trains", "lr", "seed", "metric", "value"])


def traces(figure: go.Figure, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.name == name]


@pytest.mark.parametrize("dark", [False, True])
def test_a_dot_per_seed_and_a_line_at_the_mean(dark: bool) -> None:
    figure = by_term_and_rate(rows(), dark)
    first, second = traces(figure, "v")
    assert list(first.y) == pytest.approx([50, 51, 52] * 2) and (first.yaxis, second.yaxis) == ("y", "y2")
    assert len(set(first.x)) == 6  # seeds beside each other
    assert list(traces(figure, "mean v")[0].y) == pytest.approx([51, 51])
    assert [figure.layout.xaxis.ticktext[at] for at in (0, 1, -1)] == ["0.001", "0.01", "0.0001"]
    assert first.marker.color == style.TERM_COLOURS["v"] and traces(figure, "head")[0].marker.color == style.ink(dark)
    titles = [a.text for a in figure.layout.annotations if "accuracy" in a.text]
    assert titles == ["<b>sst2, 300 examples: accuracy, %</b>", "<b>rte, 300 examples: accuracy, %</b>"]
    assert "seed 2" in first.customdata[2] and "52.0 %" in first.customdata[2]


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
    many = SweepSpec(n_train=tuple(range(100, 100 + MOST_PANELS + 4)), terms=("v",))
    figure = by_term_and_rate(rows(spec=many))
    assert len(traces(figure, "v")) == MOST_PANELS
    assert not by_term_and_rate(rows(lambda row: False)).data


def test_names_and_colours() -> None:
    assert name_of("q+v") == "b<sub>q</sub> + b<sub>v</sub>" and name_of("head") == "head"
    assert colour_of("q+v", False) == style.TERM_COLOURS["q"] and colour_of("all", True) == style.ink(True)
