"""The plane of two changes: its corners to the bit, and what is read between its points."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from example_snapshots import example

from beft_core.errors import UserError
from beft_core.merging.config import MergeConfig
from beft_core.merging.merge import merge
from beft_core.merging.plan import plan
from beft_core.merging.plane import HIGH, LOW, SIDES, Surface, at_point, balanced, grid, surfaces
from beft_core.merging.result import MergeResult, TaskScored

KEY = ("encoder", "v")
PAIR = [example(seed, trained_terms=("v",), full=True) for seed in (1, 2)]


@pytest.mark.parametrize("side", SIDES)
def test_a_grid_holds_the_base_the_fine_tunes_and_their_average(side: int) -> None:
    points = grid(side)
    assert len(points) == len(set(points)) == side**2 and {(0, 0), (1, 0), (0, 1), (0.5, 0.5), (1, 1)} <= set(points)
    assert min(points) == (LOW, LOW) and max(points) == (HIGH, HIGH)
    assert grid(0) == []


def test_the_corners_are_what_is_stored_and_the_middle_is_the_average() -> None:
    first, second = PAIR
    for place, expected in (
        ((0, 0), first.pre(*KEY)),
        ((1, 0), first.post(*KEY)),
        ((0, 1), second.post(*KEY)),
        ((0.5, 0.5), merge(PAIR, "mean").post(*KEY)),
        ((1, 1), merge(PAIR, "task_arithmetic", scale=1.0).post(*KEY)),
    ):
        found = at_point(first, second, KEY, *place)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


def test_a_plan_scores_each_point_once_and_knows_those_that_have_a_name() -> None:
    work = plan(PAIR, MergeConfig.of(PAIR, ["one", "two"], plane=7))
    keys = {(alpha, beta): key for alpha, beta, key in work.plane}
    assert len(keys) == 49 and len(work.values) == 49
    names = [*work.rows.values()]
    assert [keys[0, 0], keys[1, 0], keys[0, 1], keys[0.5, 0.5]] == names


def test_the_plane_is_of_two_and_of_known_sizes() -> None:
    three = [*PAIR, example(3, trained_terms=("v",), full=True)]
    with pytest.raises(UserError, match="plane of 3 fine-tunes"):
        MergeConfig.of(three, ["a", "b", "c"], plane=7)
    for wrong in (1, 6, 8, -7, True, 7.0):
        with pytest.raises(UserError, match="got plane"):
            MergeConfig.of(PAIR, ["a", "b"], plane=wrong)
    config = MergeConfig.of(PAIR, ["a", "b"], plane=7)
    assert MergeConfig.from_dict(config.to_dict()) == config
    assert "plane" not in MergeConfig.of(PAIR, ["a", "b"]).to_dict()  # as before there was one


def evaluated(value: float | None = 0.25) -> MergeResult:
    """Metric that is alpha on one task and 1 - beta / 2 on the other; ``value``: at the first point."""
    plane = [(a, b, {"x": {"accuracy": a}, "y": {"accuracy": 1 - b / 2}}) for a in (0.0, 0.5, 1.0) for b in (0.0, 1.0)]
    plane[0][2]["x"]["accuracy"] = value
    about = TaskScored("accuracy", 10, 10, "made up")
    rows = dict.fromkeys(("base model", "a", "b", "merged"), plane[0][2])
    return MergeResult({"x": about, "y": about}, rows, [], 0.5, None, {}, 1, 1.0, "cpu", {}, plane)


def test_metrics_are_read_between_the_points() -> None:
    x, y = surfaces(evaluated(0.0))
    assert (x.task, y.task, x.values.shape) == ("x", "y", (3, 2))
    assert x.at(0.5, 0) == 50 and x.at(0.75, 0.3) == pytest.approx(75) and y.at(0.1, 0.5) == pytest.approx(75)
    assert x.at(-3, 0) == 0 and x.at(9, 9) == 100  # beyond the border as at it
    assert x.best() == (1, 0, 100) and balanced([x, y]) == (1, 0)


def test_a_point_that_is_not_finite_spoils_only_what_touches_it() -> None:
    x, y = surfaces(evaluated(None))
    assert math.isnan(x.at(0, 0)) and math.isnan(x.at(0.2, 0.2)) and x.at(0.5, 0) == 50 and x.at(0.7, 0.2) > 0
    nothing = Surface("x", x.alphas, x.betas, np.full((3, 2), np.nan))
    assert all(map(math.isnan, nothing.best())) and balanced([nothing, y]) is None and balanced([]) is None


def test_what_is_no_whole_grid_is_no_surface() -> None:
    whole = evaluated()
    assert surfaces(dataclasses.replace(whole, plane=whole.plane[:-1])) == []
    assert surfaces(dataclasses.replace(whole, plane=[])) == []


def test_a_result_with_a_plane_survives_json() -> None:
    assert MergeResult.from_dict(evaluated().to_dict()) == evaluated()
    without = {name: value for name, value in evaluated().to_dict().items() if name != "plane"}
    assert MergeResult.from_dict(without).plane == []  # a result from before there was one
    for damaged in ([[0.0, 1.0]], [["a", 0, {}]], [[0.0, 0.0, {"x": 1}]], 3):
        with pytest.raises(UserError, match=r"result\.json"):
            MergeResult.from_dict({**evaluated().to_dict(), "plane": damaged})
