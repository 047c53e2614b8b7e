"""What a merge run is told, what it will score, and what it leaves behind, without PyTorch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_snapshots import example

from beft_core.errors import UserError
from beft_core.merging.config import MergeConfig, content, read_sources, recorded, source_file
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


def test_demonstrations_are_repeated_on_the_own_task_alone() -> None:
    one = example(1, task="prompt-copa", hyperparameters={"demonstrations": 2})
    assert recorded([one], "prompt-copa") == {"model": "bundled", "demonstrations": 2}
    assert recorded([one], "prompt-sst2") == recorded([one]) == {"model": "bundled"}
    mine = example(1, task="films", hyperparameters={"demonstrations": 2})
    assert recorded([mine], "films") == {"model": "bundled"}, "its own rows are not at hand"
    for wrong in (0, -1, 10**9, "2", True):
        odd = example(1, task="prompt-copa", hyperparameters={"demonstrations": wrong})
        assert "demonstrations" not in recorded([odd], "prompt-copa")


def test_a_model_in_a_folder_is_looked_for_under_its_full_path() -> None:
    one = example(1)
    one.meta = dataclasses.replace(
        one.meta, model=dataclasses.replace(one.meta.model, id="mine", folder="/models/mine")
    )
    assert recorded([one])["model"] == "/models/mine"
