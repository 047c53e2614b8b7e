"""What a merge run is told, what it will score, and what it leaves behind, without PyTorch."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_snapshots import base, example

from beft_core.errors import UserError
from beft_core.merging.config import (
    LINES,
    MergeConfig,
    MergeResult,
    TaskScored,
    content,
    plan,
    position,
    read_sources,
    recorded,
    settings_at,
    source_file,
    tasks_of,
)
from beft_core.merging.merge import METHODS
from beft_core.snapshots.snapshot import Snapshot, read_snapshot, write_snapshot

PAIR = [example(seed, trained_terms=("v",), full=True) for seed in (1, 2)]
KEY = ("encoder", "v")


def config(**changes: Any) -> MergeConfig:
    return MergeConfig.of(PAIR, ["one", "two"], **changes)


def test_a_configuration_survives_json() -> None:
    given = config(method="ties", settings={"density": 0.3}, terms=("v",), points=5, limit=100)
    table = given.to_dict()
    assert table["files"] == ["source-1.beft.safetensors", "source-2.beft.safetensors"]
    assert table["task"] == "task1 + task2" and MergeConfig.from_dict(table) == given


@pytest.mark.parametrize(
    "change",
    [
        {"files": ["../../etc/passwd", source_file(2)]},
        {"files": [source_file(1)], "titles": ["one"], "sources": []},
        {"titles": ["one"]},
        {"method": "magic"},
        {"settings": {"density": 0.1}},
        {"settings": None},
        {"terms": ["x"]},
        {"terms": []},
        {"points": 1},
        {"points": True},
        {"points": 52},
        {"limit": 0},
        {"limit": "all"},
        {"device": "tpu"},
        {"precision": 32},
        {"max_length": 1},
        {"model": 3},
        {"unknown": 1},
    ],
)
def test_a_wrong_configuration_is_refused_in_one_line(change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^got |has no parameter"):
        MergeConfig.from_dict(config().to_dict() | change)


def test_sources_are_read_back_under_their_titles(tmp_path: Path) -> None:
    made = config()
    for name, snapshot in zip(made.files, PAIR, strict=True):
        write_snapshot(tmp_path / name, snapshot)
    found = read_sources(made, tmp_path)
    assert [s.source for s in found] == ["one", "two"] and [content(s) for s in found] == list(made.sources)
    assert content(PAIR[0]) != content(PAIR[1])
    assert content(read_snapshot(tmp_path / made.files[0])) == content(PAIR[0])


def test_the_content_of_a_snapshot_is_its_metadata_and_both_sets_of_biases() -> None:
    one = PAIR[0]
    pre, post = {KEY: one.pre(*KEY)}, {KEY: one.post(*KEY)}
    moved = {KEY: post[KEY] + np.float32(1)}
    others = [
        Snapshot.build(one.meta, pre, moved),
        Snapshot.build(one.meta, moved, post),
        Snapshot.build(dataclasses.replace(one.meta, seed=8), pre, post),
    ]
    assert len({content(snapshot) for snapshot in [Snapshot.build(one.meta, pre, post), *others]}) == 4


def test_a_merge_is_scored_with_the_longest_limit_and_every_added_bias_of_its_sources() -> None:
    recorded_settings = [
        {"max_length": 256, "add_bias": ["v"]},
        {"max_length": 64, "add_bias": ["q", "v"]},
        {"max_length": "512", "add_bias": "o"},  # from a stranger's file: no such flag could have been given
        {},
    ]
    sources = [example(1, hyperparameters=table) for table in recorded_settings]
    for order in (sources, sources[::-1]):
        fields = recorded(order)
        assert fields["max_length"] == 256 and set(fields["add_bias"]) == {"q", "v"} and fields["model"] == "bundled"
    assert recorded(sources[3:]) == {"model": "bundled"}


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


@pytest.mark.parametrize("method", list(LINES))
def test_a_line_holds_all_other_settings(method: str) -> None:
    settings = METHODS[method].settings({}, 2)
    at = position(method, settings, 2)
    assert at is not None
    moved = settings_at(method, settings, 2, at)
    if method in ("mean", "weighted"):
        assert moved == {"weights": [0.5, 0.5]}
    else:
        assert moved == settings


def test_of_several_weights_the_others_share_what_the_first_leaves() -> None:
    assert settings_at("weighted", {"weights": [9.0, 1.0, 3.0]}, 3, 0.2) == {"weights": [0.2, 0.2, 0.6000000000000001]}
    assert settings_at("weighted", {"weights": [1.0, 0.0, 0.0]}, 3, 0.5) == {"weights": [0.5, 0.25, 0.25]}


def test_a_fisher_average_has_no_line() -> None:
    work = plan(PAIR, config(method="fisher", points=5))
    assert work.line == [] and work.position is None and len(work.values) == 4


def test_different_bases_are_refused_by_name() -> None:
    foreign = [PAIR[0], example(3, pre=base(seed=9), trained_terms=("v",))]
    with pytest.raises(UserError, match=r"different base models .*expected fine-tunes of one base"):
        plan(foreign, MergeConfig.of(foreign, ["a", "b"]))


def test_tables_of_ones_own_cannot_be_scored() -> None:
    known, left_out = tasks_of([PAIR[0], example(5, task="sst2", full=True)])
    assert known == ["sst2"] and "beft evaluate --train-file" in left_out["task1"]


RESULT = MergeResult(
    tasks={"sst2": TaskScored("accuracy", 10, 20, "made up")},
    rows={name: {"sst2": {"accuracy": 0.5}} for name in ("base model", "merged")},
    line=[(0.0, {"sst2": {"accuracy": None}})],
    position=0.5,
    parameter="weight",
    left_out={},
    evaluations=3,
    seconds=1.0,
    device="cpu",
    versions={},
)


def test_a_result_survives_json_and_damage_is_told() -> None:
    assert MergeResult.from_dict(RESULT.to_dict()) == RESULT
    for change in ({"rows": 3}, {"line": [[0]]}, {"tasks": {"sst2": {}}}, {"more": 1}, {"rows": {"merged": {}}}):
        with pytest.raises(UserError, match=r"result\.json"):
            MergeResult.from_dict(RESULT.to_dict() | change)
    words = {"merged": {"sst2": {"accuracy": "high"}}}
    with pytest.raises(UserError, match="no number"):
        MergeResult.from_dict(dataclasses.replace(RESULT, rows=words).to_dict())  # type: ignore[arg-type]


def test_needs_no_torch() -> None:
    code = "import beft_core.merging.config, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
