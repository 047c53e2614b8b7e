"""The plane of a pair: checked against vectors of many dimensions, and lines of equal score against the formula."""

from __future__ import annotations

import numpy as np
import pytest
from example_snapshots import LAYERS, base, example
from hypothesis import given
from hypothesis import strategies as st

from beft_core.errors import UserError
from beft_core.scores.formulas import geometry, projection_ratio
from beft_core.scores.plane import Pair, has_trajectory, iso_line, tips, trajectory
from beft_core.snapshots.snapshot import Snapshot
from dashboard.app_pages.geometry.sandbox_jumps import JUMPS, Position

PRE = np.array([1.0, 0.0])


def score_at(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    post = np.stack([x, y], axis=1)
    return projection_ratio(np.tile(PRE, (len(post), 1)), post)


@given(st.floats(0.001, 1.999))
def test_iso_lines_join_points_of_one_score(score: float) -> None:
    x, y = iso_line(score)
    assert np.allclose(score_at(x, y), score, atol=1e-9)


@given(st.floats(0.02, 1.98).filter(lambda s: abs(s - 1) > 0.02))
def test_an_iso_line_is_a_chord_and_an_arc_through_where_the_formula_says(score: float) -> None:
    c = 1 - score
    x, y = iso_line(score, points=2001)
    assert (x[0], y[0]) == (x[-1], y[-1]) and np.isclose(np.hypot(x[0], y[0]), 1)  # closed, corners on the unit circle
    assert np.allclose(np.hypot(x - 1 / (2 * c), y), 1 / (2 * abs(c)))  # the arc: a circle through the origin
    chord = np.linspace(y[0], y[-2], 9)
    assert np.allclose(score_at(np.full(9, c), chord), score)  # 1 - r cos(a) = score on the straight piece
    assert np.isclose(abs(x).max(), 1 / abs(c), rtol=1e-4)


def test_iso_lines_at_the_limits() -> None:
    x, y = iso_line(1.0, reach=3)
    assert list(x) == [0, 0] and list(y) == [-3, 3] and np.allclose(score_at(x, y), 1)
    assert np.allclose(iso_line(0.0)[0], 1) and np.allclose(iso_line(0.0)[1], 0)
    assert np.allclose(iso_line(2.0)[0], -1)
    for wrong in (-0.1, 2.1, float("nan")):
        with pytest.raises(UserError):
            iso_line(wrong)


@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_the_plane_keeps_what_the_score_sees(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    pre, post = rng.normal(size=(5, 32)), size * rng.normal(size=(5, 32))
    x, y = tips(geometry(pre, post))
    assert np.allclose(score_at(x, y), projection_ratio(pre, post), atol=1e-7)
    # An orthonormal basis of the plane, by Gram and Schmidt.
    u = pre / np.linalg.norm(pre, axis=1, keepdims=True)
    across = post - np.vecdot(post, u)[:, None] * u
    norm = np.linalg.norm(pre, axis=1)
    assert np.allclose(x, np.vecdot(post, u) / norm) and np.allclose(y, np.linalg.norm(across, axis=1) / norm)


@given(st.integers(0, 10_000), st.floats(0.05, 20))
def test_the_foot_stands_where_the_shorter_falls_on_the_longer(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    pre, post = rng.normal(size=16), size * rng.normal(size=16)
    pair = Pair.of(pre, post)
    tip, foot = np.array(pair.post), np.array(pair.foot)
    longer, shorter = (tip, PRE) if pair.onto == "post" else (PRE, tip)
    assert (pair.onto == "post") == (np.linalg.norm(post) > np.linalg.norm(pre))
    assert np.isclose((shorter - foot) @ longer, 0, atol=1e-6)  # a right angle
    assert np.isclose(1 - foot @ longer / (longer @ longer), pair.score)
    assert np.isclose(pair.pre_norm, np.linalg.norm(pre)) and np.isclose(pair.magnitude, np.abs(post - pre).sum())


def test_pairs_with_a_zero_vector() -> None:
    zero, one = np.zeros(4, np.float32), np.ones(4, np.float32)
    grown, gone, none = Pair.of(zero, one), Pair.of(one, zero), Pair.of(zero, zero)
    assert grown.ratio == np.inf and grown.score == 1 and grown.onto == "post"
    assert gone.ratio == 0 and gone.score == 1 and gone.foot == (0.0, 0.0)
    assert none.score == 0 and none.ratio == 1
    x, y = tips(geometry(np.stack([zero, one]), np.stack([one, one])))
    assert np.isnan(x[0]) and np.isnan(y[0]) and (x[1], y[1]) == (1, 0)


def test_trajectory_begins_before_the_fine_tune_and_ends_after_it() -> None:
    snapshot = example(full=True)  # its first checkpoint is the pre itself, at step 0
    track = trajectory(snapshot, "encoder")
    assert track is not None and list(track.steps) == [0, 10] and has_trajectory(snapshot)
    for path in track.paths:
        pre, post = snapshot.pre("encoder", path.term), snapshot.post("encoder", path.term)
        assert (path.scores["projection_ratio"][0] == 0).all() and (path.geometry["length_ratio"][0] == 1).all()
        assert np.array_equal(path.scores["projection_ratio"][-1], projection_ratio(pre, post))
        assert path.geometry["cosine"].shape == (2, LAYERS)


def test_long_trajectories_are_thinned_to_their_ends() -> None:
    whole = example(pre=base(terms=("v",)))
    pre, post = whole.pre("encoder", "v"), whole.post("encoder", "v")
    steps = np.stack([pre + t * (post - pre) for t in np.linspace(0.001, 1, 1000)])
    key = ("encoder", "v")
    followed = Snapshot.build(
        whole.meta, {key: pre}, {key: post}, steps={key: steps}, trajectory_step=np.arange(1, 1001)
    )
    track = trajectory(followed, "encoder", most=50)
    assert track is not None and len(track.steps) == 51 and track.steps[0] == 0 and track.steps[-1] == 1000
    assert np.array_equal(track.paths[0].scores["projection_ratio"][-1], projection_ratio(pre, post))


def test_without_a_trajectory_there_is_none() -> None:
    assert trajectory(example(), "encoder") is None and not has_trajectory(example())
    assert trajectory(example(full=True), "decoder") is None


@pytest.mark.parametrize("jump", JUMPS, ids=lambda jump: jump.title)
def test_jumps_show_what_they_say(jump: object) -> None:
    a, b, same = jump.a, jump.b, jump.same  # type: ignore[attr-defined]
    for position in filter(None, (a, b)):
        assert 0.4 <= position.length <= 1 and 0 <= position.ratio <= 2 and -180 <= position.angle <= 180
        # The sliders stand on these values.
        assert np.isclose(position.ratio * 100 % 1, 0, atol=1e-6) or np.isclose(position.ratio * 100 % 1, 1)
        assert position.angle * 2 % 1 == 0
    if b is None:
        return
    one, other = a.scores(), b.scores()
    for key in ("projection_ratio", "magnitude"):
        assert (abs(one[key] - other[key]) < 5e-4) == (same == key), key
    if same is None:
        apart = [one[key] - other[key] for key in ("projection_ratio", "magnitude")]
        assert jump.opposite and apart[0] * apart[1] < 0 and min(map(abs, apart)) > 0.1  # type: ignore[attr-defined]


def test_numbers_named_in_the_lessons() -> None:
    by_title = {jump.title: jump for jump in JUMPS}
    first = by_title["Same Magnitude, other ratio"]
    assert first.b is not None
    assert round(first.b.scores()["projection_ratio"] / first.a.scores()["projection_ratio"]) == 5
    second = by_title["Same ratio, other Magnitude"]
    assert second.b is not None and 2.5 < second.b.scores()["magnitude"] / second.a.scores()["magnitude"] < 3
    smaller = by_title["Smaller b, same turn"]
    assert smaller.b is not None
    assert np.isclose(smaller.b.scores()["magnitude"] * 2, smaller.a.scores()["magnitude"])
    alone = {title: by_title[title].a.scores()["projection_ratio"] for title in list(by_title)[4:]}
    assert np.allclose(list(alone.values()), [0.5, 1.0, 2.0])


def test_walking_between_a_and_b_keeps_the_shared_score() -> None:
    """The picture moves in a straight line: along an edge of the rhombus, along a chord."""
    for jump in JUMPS:
        if jump.same is None or jump.b is None or jump.a.length != jump.b.length:
            continue
        ends = [p.ratio * np.exp(1j * np.radians(p.angle)) for p in (jump.a, jump.b)]
        for t in np.linspace(0, 1, 11):
            z = ends[0] + t * (ends[1] - ends[0])
            here = Position(abs(z), float(np.degrees(np.angle(z)))).scores()
            assert abs(here[jump.same] - jump.a.scores()[jump.same]) < 1e-3, (jump.title, t)
