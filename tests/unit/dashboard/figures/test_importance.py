"""Figures of Start and Importance: bumps, regimes, the cell, and what a click says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from example_snapshots import base, example
from fake_worker import small_snapshot

from beft_core.scores.plane import Pair
from beft_core.scores.regimes import Measured, over_regimes
from beft_core.scores.table import score_snapshot
from beft_core.terms import CANDIDATES, TERM_KEYS
from dashboard.figures.bumps import bumps
from dashboard.figures.cell import cell
from dashboard.figures.heatmaps import clicked, heatmaps
from dashboard.figures.parts import style
from dashboard.figures.parts.numbers import shortest
from dashboard.figures.ranking import ranking
from dashboard.figures.regimes import PANEL, regimes

TABLE = score_snapshot(small_snapshot())


def test_every_cell_can_be_clicked_and_says_which_it_is() -> None:
    figure = heatmaps(TABLE, ["projection_ratio"], {}, "encoder")
    points = next(trace for trace in figure.data if trace.name == "cells")
    heat = figure.data[0]
    assert len(points.x) == 8 * 7
    for x, y, data in zip(points.x, points.y, points.customdata, strict=True):
        event = {"selection": {"points": [{"customdata": list(data)}]}}
        layer, term = clicked(event) or (None, "")
        assert TERM_KEYS[y] == term
        assert layer is None if x > 5.5 else layer == x
        if layer is not None and term != "k":
            assert f"{heat.z[y][int(x)]:.4g}" in data[2]


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        {"selection": {"points": []}},
        {"selection": {"points": [{"x": 1}]}},
        {"selection": {"points": [{"customdata": [1, "nothing"]}]}},
    ],
)
def test_a_click_elsewhere_names_no_cell(event: object) -> None:
    assert clicked(event) is None


def test_the_marked_cell_is_framed_in_every_panel() -> None:
    shapes = heatmaps(TABLE, ["projection_ratio", "fisher"], {}, "encoder", marked=(2, "v")).layout.shapes
    marks = [shape for shape in shapes if shape.name == "cell"]
    assert len(marks) == 4 and all(shape.x0 < 2 < shape.x1 and shape.y0 < 2 < shape.y1 for shape in marks)
    shapes = heatmaps(TABLE, ["fisher"], {}, "encoder", marked=(2, "gone")).layout.shapes
    assert not [shape for shape in shapes if shape.name == "cell"]


@pytest.mark.parametrize("layers", [6, 12, 24])
def test_a_tiny_mean_fits_its_column(layers: int) -> None:
    figure = heatmaps(score_snapshot(small_snapshot(layers=layers)), ["fisher"], {}, "encoder")
    left, right = figure.layout.xaxis.range
    narrowest = 400 if layers > 12 else 270  # as app_pages/importance/cell.py allows, less the names of the rows
    pixels = (narrowest - 50) * figure.data[1].dx / (right - left)
    assert pixels > 7 * len(shortest(5.1e-19))


def test_bumps_rank_by_every_approach() -> None:
    selected = TABLE.selected()
    figure = bumps(TABLE, TABLE.approaches, selected, "encoder")
    assert {trace.name for trace in figure.data} == set(TERM_KEYS)
    for trace in figure.data:
        for at, key in enumerate(TABLE.approaches):
            scores = TABLE.mean_scores(key)
            assert trace.y[at] == 1 + sum(score > scores[trace.name] for score in scores.values())
            assert (trace.text[at] == "★") == (selected[key] == trace.name)
        assert trace.line.color == style.TERM_COLOURS[trace.name]
        assert trace.line.dash == ("dot" if trace.name == "k" else "solid")
    assert [trace.name for trace in figure.data[-3:]] == list(CANDIDATES)
    bottom, top = figure.layout.yaxis.range
    assert bottom > 8 and top < 1  # rank 1 on top


def test_every_ranking_says_how_many_elements_of_a_term_are_null() -> None:
    table = score_snapshot(example(pre=base(), null_elements={"k": ((0, 3), (4, 7))}))
    labels = [note.text for note in bumps(table, ["magnitude"], {}, "encoder").layout.annotations]
    assert [text for text in labels if "null" in text] == ["<b>b<sub>k</sub></b> 6/8 null"]
    rows = heatmaps(table, ["magnitude"], {}, "encoder").layout.yaxis.ticktext
    assert ["6/8 null" in text for text in rows] == [False, True, False]
    bars = ranking(table, "magnitude", None, "encoder").data[0].y
    assert [text for text in bars if "null" in text] == ["6/8 null b<sub>k</sub> "]


def test_bumps_leave_out_what_was_not_trained() -> None:
    table = score_snapshot(example(pre=base(), trained_terms=("v",), full=True))
    lines = {trace.name: trace for trace in bumps(table, ["magnitude", "fisher"], {}, "encoder").data}
    assert lines["q"].y[0] is None and lines["q"].y[1] is not None and lines["v"].y[0] is not None


def rows() -> pd.DataFrame:
    probes = [(small_snapshot(seed), n) for seed, n in ((0, 100), (1, 100), (2, 500), (3, 500))]
    return over_regimes([(replace(s.meta, n_train=n, regime="low"), score_snapshot(s)) for s, n in probes], "encoder")


@pytest.mark.parametrize("y", ["rank", "score"])
def test_regimes_draw_ranks_or_scores_and_the_metric(y: str) -> None:
    table = rows()
    probes = [Measured(100, None, (0.7, 0.8)), Measured(500, None, (0.9,))]
    alone = [Measured(100, "v", (0.75,)), Measured(100, "k", (0.5,), frozen=True)]
    figure = regimes(table, ["projection_ratio", "fisher"], "accuracy", probes, alone, ["k"], y)
    line = next(trace for trace in figure.data if trace.name == "v")
    kept = table[(table["approach"] == "projection_ratio") & (table["term"] == "v")]
    assert np.allclose(line.y, kept["rank" if y == "rank" else "mean"]) and list(line.x) == [0, 1]
    assert [trace.name for trace in figure.data].count("band") == 2 * 3
    drawn = {trace.name: list(trace.y) for trace in figure.data if trace.name.startswith("metric")}
    assert drawn == {"metric all": [0.75, 0.9], "metric k": [0.5], "metric v": [0.75]}
    assert figure.layout.xaxis.ticktext[0] == "100<br>low"
    assert next(trace for trace in figure.data if trace.name == "k").line.dash == "dot"


def one_term(**columns: list[float]) -> pd.DataFrame:
    """Term v over three sizes; whatever is asked for, with other numbers at every place."""
    plain = {
        "rank": [2, 3, 2],
        "rank_best": [1, 1, 2],
        "rank_worst": [4, 3, 2],
        "mean": [0.2, 0.5, 0.3],
        "std": [0.05, 0.1, np.nan],
        "seeds": [3, 2, 1],
    }
    table = pd.DataFrame({"n_train": [100, 300, 900], **plain, **columns})
    return table.assign(approach="fisher", term="v", regime="")


def test_spreads_reach_from_the_best_rank_to_the_worst_and_bands_need_seeds_on_both_sides() -> None:
    figure = regimes(one_term(), ["fisher"], "accuracy", [], [])
    line = next(trace for trace in figure.data if trace.name == "v")
    assert list(line.error_y.array) == [2, 0, 0] and list(line.error_y.arrayminus) == [1, 2, 0]  # rank 4 lies below
    (band,) = [trace for trace in figure.data if trace.name == "band"]  # 900 examples have one seed
    assert list(zip(band.x, band.y, strict=True)) == [(0, 1), (1, 1), (1, 3), (0, 4)]
    figure = regimes(one_term(), ["fisher"], "accuracy", [], [], y="score")
    line = next(trace for trace in figure.data if trace.name == "v")
    assert list(line.error_y.array) == pytest.approx([0.05, 0.1, 0])
    assert list(line.error_y.arrayminus) == pytest.approx([0.05, 0.1, 0])


def test_the_spread_of_a_metric_reaches_from_the_lowest_seed_to_the_highest() -> None:
    probes = [Measured(100, None, (0.70, 0.71, 0.81))]
    figure = regimes(one_term(), ["fisher"], "accuracy", probes, [])
    (trace,) = [trace for trace in figure.data if trace.name == "metric all"]
    assert trace.y[0] + trace.error_y.array[0] == pytest.approx(0.81)
    assert trace.y[0] - trace.error_y.arrayminus[0] == pytest.approx(0.70)


def test_regimes_without_a_metric_say_so() -> None:
    figure = regimes(rows(), ["projection_ratio"], "accuracy", [], [])
    assert any("not measured" in note.text for note in figure.layout.annotations)


def test_labels_never_overlap() -> None:
    alone = [Measured(100, term, (0.5 + shift,)) for term, shift in (("q", 0.0), ("v", 0.001), ("k", 0.1))]
    figure = regimes(rows(), ["projection_ratio"], "accuracy", [], alone)
    names = [note for note in figure.layout.annotations if note.name == "end" and note.xref == "x2"]
    low, high = figure.layout.yaxis2.range
    heights = [PANEL * (note.y - low) / (high - low) - (note.ay or 0) + (note.yshift or 0) for note in names]
    assert len(names) == 3 and min(np.diff(sorted(heights))) > 12  # pixels


@pytest.mark.parametrize("angle, ratio", [(30, 0.5), (76, 3.0), (120, 0.8), (0, 1.0)])
def test_a_cell_is_drawn_true_to_angle_and_length(angle: float, ratio: float) -> None:
    turn = np.radians(angle)
    pair = Pair.of(np.array([2.0, 0.0]), 2 * ratio * np.array([np.cos(turn), np.sin(turn)]))
    figure = cell(pair, "v")
    tips = {
        note.name: np.array([note.x, note.y]) for note in figure.layout.annotations if note.name in ("before", "after")
    }
    lengths = {name: np.linalg.norm(tip) for name, tip in tips.items()}
    assert lengths["after"] / lengths["before"] == pytest.approx(ratio)
    cosine = tips["before"] @ tips["after"] / (lengths["before"] * lengths["after"])
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))) == pytest.approx(angle, abs=1e-5)
    lost = next(trace for trace in figure.data if trace.name == "lost")  # as a share of the longer: the score
    assert np.hypot(np.diff(lost.x), np.diff(lost.y))[0] == pytest.approx(pair.score, abs=1e-7)
    assert figure.layout.yaxis.scaleanchor == "x"


def test_a_cell_of_a_zero_vector_is_drawn() -> None:
    figure = cell(Pair.of(np.zeros(3), np.ones(3)), "q")
    assert not figure.data
