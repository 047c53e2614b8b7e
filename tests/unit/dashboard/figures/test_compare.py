"""Figures of the page Compare: which mark stands where, and what is told instead of a number."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest
from example_snapshots import base, example
from fake_worker import small_snapshot

from beft_core.scores.compare import Moves, alike, cosines, differences
from beft_core.scores.table import score_snapshot
from beft_core.terms import TERMS
from dashboard.figures import compare as figures
from dashboard.figures.parts import style

TABLES = [score_snapshot(small_snapshot(seed)) for seed in (0, 1)]
TITLES = ["one", "two <b>%{x}"]


def marks(figure: go.Figure, number: int) -> list[go.Scatter]:
    shape = list(figures.SHAPES)[number]
    return [t for t in figure.data if t.marker.symbol == shape and t.x is not None and t.x != (None,)]


@pytest.mark.parametrize("dark", [False, True])
def test_overview_has_a_mark_for_every_score(dark: bool) -> None:
    approaches = ("projection_ratio", "magnitude", "fisher")
    figure = figures.overview(TABLES, TITLES, approaches, "encoder", dark)
    for number, table in enumerate(TABLES):
        for trace, key in zip(marks(figure, number), approaches, strict=True):
            means = {t: m for t, m in table.mean_scores(key).items() if t != "k" or key == "fisher"}
            assert list(trace.x) == list(means.values())
            assert list(trace.marker.color) == [style.TERM_COLOURS[t] for t in means]
    assert [n.text for n in figure.layout.annotations if n.name == "reason"] == ["<i>null and frozen</i>"] * 2
    assert [t.name for t in figure.data if t.showlegend] == ["A", "B"]


def test_titles_of_strangers_stay_text() -> None:
    for figure in (
        figures.overview(TABLES, TITLES, ("magnitude",), "encoder"),
        figures.by_layer(TABLES, TITLES, "magnitude", "encoder"),
        figures.angles(np.eye(2), TITLES),
    ):
        assert "<b>%{x}" not in figure.to_json() and "two &lt;b&gt;&#37;{x}" in str(figure.to_dict())


def test_by_layer_draws_each_term_once_per_snapshot_on_one_scale() -> None:
    figure = figures.by_layer(TABLES, TITLES, "projection_ratio", "encoder")
    for number, table in enumerate(TABLES):
        lines = marks(figure, number)
        rows = [row for row in table.terms if row.term != "k"]
        assert len(lines) == len(rows)
        for line, row in zip(lines, rows, strict=True):
            np.testing.assert_array_equal(line.y, row.scores["projection_ratio"])
            assert line.line.color == style.TERM_COLOURS[row.term]
            panel = int(line.xaxis[1:] or 1)
            title = figure.layout.annotations[panel - 1].text
            assert title.count("<br>") == 1 and title.endswith(style.symbol(row.term))
            assert title.replace("<br>", " ").replace("<b>", "").replace("</b>", "").startswith(TERMS[row.term].label)
            assert line.yaxis == line.xaxis.replace("x", "y")
    axes = [figure.layout[name].range for name in figure.layout if name.startswith("yaxis")]
    assert len(set(axes)) == 1


def test_difference_map_is_centred_and_says_why_a_row_is_empty() -> None:
    found = differences(*TABLES, "magnitude", "encoder")
    figure = figures.difference_map(found, "magnitude")
    axis = figure.layout.coloraxis
    sizes = [np.abs(one.layers).max() for one in found if one.layers is not None]
    assert axis.cmax == -axis.cmin == pytest.approx(max(sizes))
    cells, means = figure.data
    for at, one in enumerate(found):
        if one.layers is None:
            assert set(cells.z[at]) == {None} and list(means.z[at]) == [None]
        else:
            np.testing.assert_array_equal(cells.z[at], one.layers)
    (note,) = figure.layout.annotations
    assert note.y == 1 and note.text == "<i>b<sub>k</sub>: null and frozen in both</i>"


def test_equal_snapshots_differ_by_nothing_on_a_scale_that_stands() -> None:
    figure = figures.difference_map(differences(TABLES[0], TABLES[0], "magnitude", "encoder"), "magnitude")
    assert figure.layout.coloraxis.cmax == 1.0 and set(figure.data[1].z[0]) == {0.0}


def test_means_alone_where_depths_differ() -> None:
    shallow = score_snapshot(small_snapshot(2, layers=3))
    found = differences(TABLES[0], shallow, "projection_ratio", "encoder")
    figure = figures.difference_map(found, "projection_ratio")
    assert figure.data[1].z[0][0] == found[0].mean and set(figure.data[0].z[0]) == {None}
    assert "6 and 3 layers" in figure.layout.annotations[0].text


def test_cosines_and_angles() -> None:
    moves = [Moves(example(seed, pre=base())) for seed in (1, 2)] + [Moves(example(3, pre=base(9)))]
    figure = figures.cosine_map(alike(moves[0], moves[1], "encoder"))
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-1, 1)
    matrix = cosines(moves, "encoder")
    text = figures.angles(matrix, ["a", "b", "c"]).data[0].text
    assert text[0][0] == "0°" and text[0][2] == text[2][1] == "–"
    assert text[0][1] == f"{np.degrees(np.arccos(matrix[0, 1])):.0f}°"


def test_numbers_of_a_map_fit_into_narrow_cells() -> None:
    z = np.array([[0.0281, -0.0062, 0.0004, np.nan, -0.096]])
    assert figures._texts(z, 0.096) == [["+.028", "−.006", "0", "", "−.096"]]
    assert figures._texts(np.array([[0.474, -1.0, 0.5]]), 1.0) == [["+.47", "−1.00", "+.50"]]
    assert figures._texts(np.array([[12.34, -68.2, 0.2]]), 68.2) == [["+12", "−68", "0"]]
    assert figures._texts(np.array([[1.2e-5, 0.0]]), 3e-4) == [["+1.2e-5", "0"]]
