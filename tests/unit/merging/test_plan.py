"""What an evaluation of a merge has to score."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from example_snapshots import base, example

from beft_core.errors import UserError
from beft_core.merging.config import MergeConfig
from beft_core.merging.plan import plan, tasks_of

PAIR = [example(seed, trained_terms=("v",), full=True) for seed in (1, 2)]


KEY = ("encoder", "v")


def config(**changes: Any) -> MergeConfig:
    return MergeConfig.of(PAIR, ["one", "two"], **changes)


def delta(index: int) -> np.ndarray:
    return PAIR[index].post(*KEY).astype(np.float64) - PAIR[index].pre(*KEY)


def test_every_set_of_biases_is_scored_once_and_the_ends_of_the_line_are_the_sources() -> None:
    work = plan(PAIR, config(points=5))
    assert list(work.rows) == ["base model", "task1", "task2", "merged"]
    assert [x for x, _ in work.line] == [0, 0.25, 0.5, 0.75, 1]
    assert work.position == 0.5
    keys = dict(work.line)
    assert keys[0.0] == work.rows["task2"] and keys[1.0] == work.rows["task1"] and keys[0.5] == work.rows["merged"]
    assert len(work.values) == 4 + 2
    for x, key in work.line:
        expected = PAIR[0].pre(*KEY) + x * delta(0) + (1 - x) * delta(1)
        np.testing.assert_allclose(work.values[key][KEY], expected, atol=1e-6)


def test_the_merge_itself_is_a_point_of_its_line() -> None:
    work = plan(PAIR, config(method="weighted", settings={"weights": [1, 2]}, points=3))
    assert [round(x, 6) for x, _ in work.line] == [0, 0.333333, 0.5, 1]
    assert dict(work.line)[work.position or 0] == work.rows["merged"]
    beyond = plan(PAIR, config(method="task_arithmetic", settings={"scale": 2.0}, points=3))
    assert [x for x, _ in beyond.line] == [0, 1, 2] and len(beyond.values) == 5  # scale 0 is the base


def test_different_bases_are_refused_by_name() -> None:
    foreign = [PAIR[0], example(3, pre=base(seed=9), trained_terms=("v",))]
    with pytest.raises(UserError, match=r"different base models .*expected fine-tunes of one base"):
        plan(foreign, MergeConfig.of(foreign, ["a", "b"]))


def test_tables_of_ones_own_can_be_scored_where_they_are_named() -> None:
    snapshots = [PAIR[0], example(5, task="sst2", full=True)]
    known, left_out = tasks_of(snapshots)
    assert known == ["sst2"] and "--file task1=FILE" in left_out["task1"]
    assert tasks_of(snapshots, {"task1": {}}) == (["task1", "sst2"], {})
