"""Figures are pure functions of scores: what they draw, how they look to the colour-blind, what they never draw."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from example_snapshots import base, example
from fake_worker import small_snapshot
from plotly.colors import sample_colorscale

from beft_core.scores.table import ScoreTable, score_snapshot
from beft_core.snapshots.snapshot import Snapshot
from beft_core.terms import TERM_KEYS
from dashboard.figures.curves.progress import loss_curve
from dashboard.figures.heatmaps import heatmaps
from dashboard.figures.parts import style
from dashboard.figures.ranking import ranking

THREE = ["projection_ratio", "magnitude", "fisher"]

# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colour: str) -> np.ndarray:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear sRGB under D65."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ np.clip(rgb, 0, 1)
    f = np.array([t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in xyz / [0.9505, 1.0, 1.089]])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    """WCAG contrast ratio."""
    light, dark = sorted((float([0.2126, 0.7152, 0.0722] @ linear(c)) for c in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("kind", BLINDNESS)
def test_terms_are_told_apart_by_the_colour_blind(kind: str) -> None:
    assert tuple(style.TERM_COLOURS) == TERM_KEYS
    seen = {term: lab(np.array(BLINDNESS[kind]) @ linear(c)) for term, c in style.TERM_COLOURS.items()}
    for one, other in itertools.combinations(seen, 2):
        # 2.3 is just noticeable side by side; the three candidates must never be confused.
        least = 25 if {one, other} <= {"q", "k", "v"} else 12
        assert np.linalg.norm(seen[one] - seen[other]) > least, (one, other)


def test_terms_have_the_colours_of_the_published_palette() -> None:
    """Okabe and Ito (2008), in their order blue, vermillion, bluish green, sky blue."""
    published = {"q": (0, 114, 178), "v": (213, 94, 0), "mlp_in": (0, 158, 115), "mlp_out": (86, 180, 233)}
    for term, rgb in published.items():
        assert style.TERM_COLOURS[term] == "#" + "".join(f"{part:02X}" for part in rgb), term


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_bars_stand_out_from_the_page(dark: bool) -> None:
    ground = "#11151d" if dark else "#ffffff"
    assert contrast(style.ink(dark), ground) > 7
    assert contrast(style.ink(dark), style.void(dark)) > 7
    for term in ("q", "k", "v"):
        assert contrast(style.TERM_COLOURS[term], ground) > 3


@pytest.fixture
def probe() -> Snapshot:
    return small_snapshot()


@pytest.fixture
def table(probe: Snapshot) -> ScoreTable:
    return score_snapshot(probe)


def test_heatmaps_draw_the_scores(table: ScoreTable) -> None:
    figure = heatmaps(table, THREE, table.selected(), "encoder")
    drawn_heatmaps = [trace for trace in figure.data if trace.type == "heatmap"]
    cells, means = drawn_heatmaps[::2], drawn_heatmaps[1::2]
    assert len(cells) == len(means) == 3 and all(len(trace.z[0]) == 6 for trace in cells)
    for trace, mean, key in zip(cells, means, THREE, strict=True):
        for row, drawn, average in zip(table.terms, trace.z, mean.z, strict=True):
            if row.term == "k" and key != "fisher":
                assert list(drawn) == [None] * 6
            else:
                assert np.allclose(np.array(drawn, float), row.scores[key])
                assert np.isclose(average[0], row.scores[key].mean())


def test_the_frame_is_on_the_row_that_each_approach_selects(table: ScoreTable) -> None:
    """Another term in every panel, none of them in the middle of the list."""
    terms = [row.term for row in table.terms]
    selected = {"projection_ratio": "v", "magnitude": "q", "fisher": "ln2"}
    figure = heatmaps(table, THREE, selected, "encoder")
    frames = [shape for shape in figure.layout.shapes if shape.name == "selected"]
    assert [frame.xref for frame in frames] == ["x", "x2", "x3"] and [frame.yref for frame in frames] == [
        "y",
        "y2",
        "y3",
    ]
    labels = dict(zip(figure.layout.yaxis.tickvals, figure.layout.yaxis.ticktext, strict=True))
    for frame, key in zip(frames, THREE, strict=True):
        at = terms.index(selected[key])
        assert (frame.y0, frame.y1) == (at - 0.5, at + 0.5)
        assert style.symbol(selected[key]) in labels[(frame.y0 + frame.y1) / 2]
        assert frame.x0 == -0.5 and frame.x1 > 6  # the layers and the mean
    assert not [s for s in heatmaps(table, THREE, {}, "encoder").layout.shapes if s.name == "selected"]
    found = heatmaps(table, ["magnitude"], table.selected(), "encoder")
    (frame,) = [shape for shape in found.layout.shapes if shape.name == "selected"]
    highest = max(("q", "k", "v"), key=lambda term: table.mean_scores("magnitude")[term])
    assert (frame.y0 + frame.y1) / 2 == terms.index(highest)


def test_rows_without_a_score_say_why(probe: Snapshot) -> None:
    figure = heatmaps(score_snapshot(probe), THREE, {}, "encoder")
    reasons = [note.text for note in figure.layout.annotations if note.name == "reason"]
    assert reasons == ["<i>null: frozen, scores 0</i>"] * 2
    only_v = example(pre=base(), trained_terms=("v",))
    figure = heatmaps(score_snapshot(only_v), ["projection_ratio", "fisher"], {}, "encoder")
    reasons = [note.text for note in figure.layout.annotations if note.name == "reason"]
    assert reasons == ["<i>not trained</i>"] * 2 + ["<i>not measured</i>"] * 3


def test_a_null_term_that_was_trained_is_flagged() -> None:
    trained_null = example(pre=base(), null_terms=("k",))
    figure = heatmaps(score_snapshot(trained_null), ["projection_ratio"], {}, "encoder")
    labels = list(figure.layout.yaxis.ticktext)
    assert ["⚠ null" in label for label in labels] == [False, True, False]
    assert not [note for note in figure.layout.annotations if note.name == "reason"]


def test_reversed_cells_are_marked_where_they_explain_the_score() -> None:
    pre = base(terms=("v",))
    post = {key: np.stack([-array[0], *array[1:] * 1.1]) for key, array in pre.items()}
    meta = example(pre=pre, full=True)
    turned = Snapshot.build(meta.meta, pre, post, fisher={key: np.ones_like(a) for key, a in pre.items()})
    figure = heatmaps(score_snapshot(turned), ["projection_ratio", "fisher"], {}, "encoder")
    words = [trace for trace in figure.data if trace.name == "words"]
    assert [trace.text.count("↺") for trace in words] == [1, 0]
    assert (words[0].x[0], words[0].y[0]) == (0, 0)
    points = next(trace for trace in figure.data if trace.name == "cells")
    assert "reversed" in points.customdata[0][2] and "reversed" not in points.customdata[1][2]


def test_words_stand_out_on_every_colour_of_the_scale() -> None:
    for fraction in np.linspace(0, 1, 101):
        ground, ink = sample_colorscale(style.SCALE, [fraction], colortype="tuple")[0], style.on_scale(fraction)
        light, low = (
            sum(
                w * (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
                for w, c in zip((0.2126, 0.7152, 0.0722), rgb, strict=True)
            )
            for rgb in (ground, {"#ffffff": (1, 1, 1), "#000000": (0, 0, 0)}[ink])
        )
        assert (max(light, low) + 0.05) / (min(light, low) + 0.05) >= 4.5, fraction  # WCAG AA


def test_each_stack_has_its_own_figure() -> None:
    pre = {**base(terms=("q", "v")), **base(terms=("k", "v"), stack="decoder")}
    scores = score_snapshot(example(pre=pre))
    assert len(heatmaps(scores, ["projection_ratio"], {}, "decoder").data[0].z) == 2
    assert "b<sub>k</sub>" in "".join(ranking(scores, "projection_ratio", None, "decoder").data[0].y)


def test_ranking_goes_down_and_stars_the_selected_term(table: ScoreTable) -> None:
    figure = ranking(table, "projection_ratio", "v", "encoder")
    bars = figure.data[0]
    assert list(bars.x) == sorted(bars.x, reverse=True) and len(bars.x) == 8
    assert bars.y[0].strip() == "★ b<sub>v</sub>" and bars.marker.color[0] == style.TERM_COLOURS["v"]
    pale = [label for label, opacity in zip(bars.y, bars.marker.opacity, strict=True) if opacity < 1]
    assert len(pale) == 5 and not any("b<sub>q" in label for label in pale)
    assert not any("⚠" in label for label in bars.y)  # k is null, but it was frozen


def test_a_ranking_flags_the_noise_of_a_null_term_that_was_trained() -> None:
    noisy = score_snapshot(example(pre=base(), null_terms=("k",)))
    labels = ranking(noisy, "magnitude", None, "encoder").data[0].y
    assert [label.strip() for label in labels if "⚠" in label] == ["b<sub>k</sub> ⚠"]


def test_loss_curve_is_thinned_and_survives_losses_that_are_not_numbers() -> None:
    records = [{"type": "step", "step": i, "total": 9000, "loss": [1 / i if i % 7 else None]} for i in range(1, 9001)]
    figure = loss_curve([{"type": "stage", "name": "train"}, *records])
    assert 500 < len(figure.data[0].x) <= 1000 and None not in figure.data[0].y
    assert figure.data[0].x[0] == 1 and figure.data[0].x[-1] > 8980  # from its beginning to its end
    assert max(np.diff(figure.data[0].x)) < 30
    assert loss_curve([]).data[0].x == ()


def test_figures_are_json_that_browsers_accept(table: ScoreTable) -> None:
    for dark in (False, True):
        for figure in (
            heatmaps(table, THREE, table.selected(), "encoder", dark),
            ranking(table, "fisher", "q", "encoder", dark),
        ):
            json.loads(figure.to_json(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
