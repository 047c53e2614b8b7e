"""Figures of the geometry page: points where the engine says, iso-lines that join equal scores, nothing hidden."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from example_snapshots import base, example
from fake_worker import small_snapshot

import dashboard
from beft_core.scores.formulas import geometry, projection_ratio
from beft_core.scores.plane import Pair, trajectory
from beft_core.scores.table import ScoreTable, score_snapshot
from beft_core.snapshots.snapshot import Snapshot
from dashboard.app_pages.geometry.pairs import both_cases, pair_in_words, standing, table
from dashboard.app_pages.geometry.training import film
from dashboard.figures.geometry import RIM, Frame, beyond_rim, has_points, one_pair, polar, without_length
from dashboard.figures.parts import style
from dashboard.figures.trajectory import level_labels, path_figure, path_frame, tables


@pytest.fixture
def scores() -> ScoreTable:
    return score_snapshot(small_snapshot())


def of(figure: go.Figure, name: str) -> list:
    return [trace for trace in figure.data if trace.name == name]


def changed(**posts: np.ndarray) -> Snapshot:
    """Every term's pre is ones, 3 layers of 8; post as given."""
    pre = {("encoder", term): np.ones((3, 8)) for term in posts}
    return Snapshot.build(example(pre=pre).meta, pre, {("encoder", term): post for term, post in posts.items()})


def test_points_lie_at_their_angle_and_length(scores: ScoreTable) -> None:
    figure = polar(scores.terms, ("v", 2))
    for row in scores.terms:
        (trace,) = of(figure, row.term)
        shape = row.movement.geometry()
        z = np.array(trace.x, float) + 1j * np.array(trace.y, float)
        assert np.allclose(np.abs(z), shape["length_ratio"]) and np.allclose(
            np.degrees(np.angle(z)), shape["angle_degrees"]
        )
        assert trace.marker.color == style.TERM_COLOURS[row.term]
        assert [data[:2] for data in trace.customdata] == [[row.term, layer] for layer in range(6)]
    (ring,) = of(figure, "chosen")
    (v,) = of(figure, "v")
    assert (ring.x[0], ring.y[0]) == (v.x[2], v.y[2])
    assert "frozen" in of(figure, "k")[0].customdata[0][2] and of(figure, "k")[0].marker.symbol == "square"


def test_unrolled_says_the_same_in_degrees(scores: ScoreTable) -> None:
    figure = polar(scores.terms, None, unrolled=True)
    for row in scores.terms:
        (trace,) = of(figure, row.term)
        shape = row.movement.geometry()
        assert np.allclose(trace.x, shape["angle_degrees"]) and np.allclose(trace.y, shape["length_ratio"])


@pytest.mark.parametrize("unrolled", [False, True])
def test_lines_in_the_background_join_equal_scores(scores: ScoreTable, unrolled: bool) -> None:
    figure = polar(scores.terms, None, unrolled=unrolled)
    labels = {float(trace.text[0]): trace for trace in of(figure, "level label")}
    assert len(labels) > 2
    for trace in of(figure, "level"):
        a, b = np.array(trace.x), np.array(trace.y)
        x, y = (b * np.cos(np.radians(a)), b * np.sin(np.radians(a))) if unrolled else (a, b)
        some = np.hypot(x, y) > 1e-9
        found = projection_ratio(np.tile([1.0, 0.0], (some.sum(), 1)), np.stack([x, y], axis=1)[some])
        assert np.ptp(found) < 1e-6
        for level, label in labels.items():
            if (label.x[0], label.y[0]) in set(zip(trace.x, trace.y, strict=True)):
                assert np.isclose(level, found[0])


def test_everything_lies_within_the_frame(scores: ScoreTable) -> None:
    for unrolled in (False, True):
        figure = polar(scores.terms, None, unrolled=unrolled)
        (left, right), (low, high) = figure.layout.xaxis.range, figure.layout.yaxis.range
        for row in scores.terms:
            (trace,) = of(figure, row.term)
            assert left < min(trace.x) and max(trace.x) < right and low < min(trace.y) and max(trace.y) < high


def test_zero_pre_and_far_and_reversed_layers() -> None:
    ones = np.ones((3, 8))
    snapshot = changed(q=np.stack([50 * ones[0], -ones[0], ones[0]]), v=ones * 1.2)
    rows = score_snapshot(snapshot).terms
    figure = polar(rows, ("q", 0))
    (q,) = of(figure, "q")
    assert np.isclose(q.x[0], RIM) and beyond_rim(rows) == 1 and "×50" in q.customdata[0][2]
    assert list(q.marker.symbol) == ["circle", "diamond", "circle"] and "reversed" in q.customdata[1][2]
    pre = {("encoder", "q"): np.zeros((3, 8)), ("encoder", "v"): np.ones((3, 8))}
    added = Snapshot.build(example(pre=pre).meta, pre, {key: np.ones((3, 8)) for key in pre})
    rows = score_snapshot(added).terms
    figure = polar(rows, ("q", 0))
    assert beyond_rim(rows) == 0  # without a length they are drawn nowhere
    assert without_length(rows) == {"q": 3} and set(of(figure, "q")[0].x) == {None} and not of(figure, "chosen")
    json.loads(figure.to_json(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    only = polar(rows[:1], ("q", 0), unrolled=True)
    assert np.isfinite(only.layout.xaxis.range).all()
    assert has_points(rows) and not has_points(rows[:1])


@pytest.mark.parametrize("unrolled", [False, True])
def test_a_point_beyond_the_rim_keeps_its_angle(unrolled: bool) -> None:
    far = np.ones((3, 8))
    far[0] = 20 * np.array([2.0, 2.0, 2.0, 2.0, -1.0, 0.0, 0.0, 0.0])
    snapshot = changed(q=far)
    angle = geometry(snapshot.pre("encoder", "q"), snapshot.post("encoder", "q"))["angle_degrees"][0]
    assert 45 < angle < 80
    (q,) = of(polar(score_snapshot(snapshot).terms, None, unrolled=unrolled), "q")
    wanted = (angle, RIM) if unrolled else (RIM * np.cos(np.radians(angle)), RIM * np.sin(np.radians(angle)))
    assert (q.x[0], q.y[0]) == pytest.approx(wanted)


def test_one_pair_shows_foot_and_right_angle() -> None:
    rng = np.random.default_rng(3)
    for size in (0.3, 3.0):
        pair = Pair.of(rng.normal(size=8), size * rng.normal(size=8))
        figure = one_pair(pair, "v")
        arrows = [note for note in figure.layout.annotations if note.name == "arrow"]
        assert [(a.ax, a.ay) for a in arrows] == [(0, 0)] * 2 and np.allclose((arrows[1].x, arrows[1].y), pair.post)
        (drop,) = of(figure, "drop")
        shorter, longer = ((1, 0), pair.post) if size > 1 else (pair.post, (1, 0))
        assert np.allclose((drop.x[0], drop.y[0]), shorter) and np.allclose((drop.x[1], drop.y[1]), pair.foot)
        assert np.isclose(np.dot(np.subtract(shorter, pair.foot), longer), 0)  # at a right angle to the longer one
        assert np.isclose(np.cross(pair.foot, longer), 0)  # whose line the foot is on
        (shadow,) = of(figure, "shadow")
        assert np.allclose((shadow.x[1], shadow.y[1]), pair.foot) and (shadow.x[0], shadow.y[0]) == (0, 0)
    assert (
        len([n for n in one_pair(Pair.of(np.zeros(3), np.ones(3)), "v").layout.annotations if n.name == "arrow"]) == 1
    )


def test_both_cases_are_written_and_one_is_evaluated() -> None:
    shorter, longer = Pair.of(np.array([2.0, 0]), np.array([1.0, 0])), Pair.of(np.array([1.0, 0]), np.array([0, 2.0]))
    text = both_cases(shorter)
    assert text.index("→ post is not longer") < text.index(":gray[post is longer") and "=0.5$$" in text
    text = both_cases(longer)
    assert text.startswith(":gray[post is not longer") and "=1$$" in text
    assert both_cases(Pair.of(np.zeros(2), np.ones(2))) == ""
    reversed_ = both_cases(Pair.of(np.array([1.0, 0.0]), np.array([-0.25, 0.0])))
    assert r"=1+\frac{0.25\cdot1.0000}{1}=1.25" in reversed_  # not 1 - 0.25 · -1
    assert "infinite" in pair_in_words(Pair.of(np.zeros(2), np.ones(2))) and "made" in pair_in_words(
        Pair.of(np.ones(2), np.zeros(2))
    )
    assert "nothing changed" in pair_in_words(Pair.of(np.zeros(2), np.zeros(2)))
    assert "reversed" in pair_in_words(Pair.of(np.ones(2), -np.ones(2))) and "reversed" not in pair_in_words(shorter)


def test_standing_counts_from_the_highest(scores: ScoreTable) -> None:
    row = next(row for row in scores.terms if row.term == "v")
    values = row.scores["projection_ratio"]
    every = np.concatenate([one.scores["projection_ratio"] for one in scores.terms])
    best = int(values.argmax())
    text = standing(scores.terms, row, best)
    assert "**1st of 6**" in text and f"{100 * values[best] / values.sum():.0f}%" in text
    rank = int((every > values[0]).sum()) + 1
    assert f"**{rank}" in standing(scores.terms, row, 0) and "of 48**" in text
    k = next(row for row in scores.terms if row.term == "k")
    assert "null in this model and was frozen" in standing(scores.terms, k, 0)


def test_table_holds_all_numbers(scores: ScoreTable) -> None:
    frame = table(scores.terms)
    assert len(frame) == 48 and {"angle_degrees", "length_ratio", "projection_ratio", "fisher"} <= set(frame)
    v = frame[frame["term"] == "v"]["projection_ratio"]
    assert np.isclose(v.mean(), scores.mean_scores("projection_ratio")["v"])


def test_film_and_figure_follow_the_checkpoints() -> None:
    snapshot = example(pre=base(), full=True)
    track = trajectory(snapshot, "encoder")
    assert track is not None
    reel = film(track, track.paths, "projection_ratio")
    json.dumps(reel, allow_nan=False)
    assert reel["steps"] == [0, 10] and reel["terms"][0]["x"][0][0] == 1 and reel["terms"][0]["y"][0][0] == 0
    for term, path in zip(reel["terms"], track.paths, strict=True):
        shape = geometry(snapshot.pre("encoder", path.term), snapshot.post("encoder", path.term))
        ends = np.array(term["x"])[:, -1] + 1j * np.array(term["y"])[:, -1]
        assert np.allclose(np.abs(ends), shape["length_ratio"], atol=1e-4)
        assert np.isclose(term["mean"][-1], path.scores["projection_ratio"][-1].mean())
    figure = path_figure(track, track.paths, "magnitude", 1)
    lines = [trace for trace in of(figure, "v") if trace.line.width == 3]
    assert np.allclose(lines[0].y, next(p for p in track.paths if p.term == "v").scores["magnitude"].mean(axis=1))
    assert [shape.x0 for shape in figure.layout.shapes] == [
        10
    ]  # a step of the optimizer, not the number of a checkpoint
    paths = [trace for trace in of(figure, "v") if trace.xaxis == "x"]
    v = next(term for term in reel["terms"] if term["name"] == "b_v")
    assert len(paths) == 3
    for layer, trace in enumerate(paths):  # up to the checkpoint that is looked at, which has the mark
        np.testing.assert_allclose(trace.x, v["x"][layer], atol=1e-4)
        np.testing.assert_allclose(trace.y, v["y"][layer], atol=1e-4)
        assert list(trace.marker.size) == [0, 9]
    begin = path_figure(track, track.paths, "magnitude", 0)
    assert all(len(trace.x) == 1 for trace in of(begin, "v") if trace.xaxis == "x")
    assert [shape.x0 for shape in begin.layout.shapes] == [0]
    assert len(tables(track, track.paths)) == 3 * 3 * 2
    json.loads(figure.to_json(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def test_film_leaves_out_layers_without_a_length() -> None:
    pre = {("encoder", "v"): np.stack([np.zeros(8), np.ones(8), np.ones(8)])}
    post = {key: array + 0.5 for key, array in pre.items()}
    steps = {key: array[None] for key, array in post.items()}
    snapshot = Snapshot.build(example(pre=pre).meta, pre, post, steps=steps, trajectory_step=np.array([7]))
    track = trajectory(snapshot, "encoder")
    assert track is not None
    reel = film(track, track.paths, "magnitude")
    assert reel["terms"][0]["layers"] == [1, 2] and len(reel["terms"][0]["x"]) == 2
    json.dumps(reel, allow_nan=False)
    path_figure(track, track.paths, "magnitude", 0)


def test_level_labels_lie_on_their_lines_inside_the_frame() -> None:
    frame = Frame.around(np.array([0.3, 1.4]), np.array([0.2, 1.9]))
    labels = level_labels(frame)
    assert len(labels) >= 4
    for x, y, level in labels:
        assert frame.x[0] < x < frame.x[1] and 0 < y < frame.y[1]
        assert np.isclose(projection_ratio(np.array([[1.0, 0.0]]), np.array([[x, y]]))[0], level)


def test_large_models_stay_small() -> None:
    """24 layers of 8 terms with 8 checkpoints: what goes to the browser."""
    big = small_snapshot(layers=24)
    steps = {key: np.stack([big.post(*key)] * 8) for key in big.keys()}  # noqa: SIM118
    snapshot = Snapshot.build(
        big.meta,
        {k: big.pre(*k) for k in big.keys()},  # noqa: SIM118
        {k: big.post(*k) for k in big.keys()},  # noqa: SIM118
        steps=steps,
        trajectory_step=np.arange(1, 9),
    )
    rows = score_snapshot(snapshot).terms
    figure = polar(rows, ("v", 23))
    assert "text" not in of(figure, "v")[0].mode and len(figure.to_json()) < 500_000
    track = trajectory(snapshot, "encoder")
    assert track is not None and len(json.dumps(film(track, track.paths, "magnitude"))) < 200_000
    assert path_frame(track.paths).x[1] > 1


def test_pictures_use_no_network_and_no_old_interface() -> None:
    folder = Path(str(dashboard.__file__)).parent / "app_pages" / "geometry"
    sources = [*folder.glob("sandbox.*"), *folder.glob("pl*.*")]
    assert len(sources) >= 8
    for source in sources:
        text = source.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn|fetch\(|import\s.*from\s+['\"]|window\.Streamlit", text)
