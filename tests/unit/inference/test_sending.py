"""Snapshots sent to another process come out as they went in, without what answers do not need."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from beft_core.errors import UserError
from beft_core.inference.sending import by_content, by_file, received
from beft_core.snapshots.snapshot import ModelInfo, Snapshot, SnapshotMeta, write_snapshot

V = ("encoder", "v")


@pytest.fixture
def snapshot() -> Snapshot:
    values = {V: np.float32([[1, 2]])}
    meta = SnapshotMeta(ModelInfo("m", None, "bert", 1, 2, "0" * 64), "t")
    return Snapshot.build(meta, values, {V: values[V] + 1}, fisher=values, extra={"extra.t.head.weight": np.eye(2)})


def test_both_ways_give_the_same(snapshot: Snapshot, tmp_path: Path) -> None:
    file = tmp_path / "a.beft.safetensors"
    write_snapshot(file, snapshot)
    for sent in (by_file("a", file), by_content("a", snapshot)):
        assert sent["name"] == "a"
        found = received(json.loads(json.dumps(sent)))
        assert found.meta == snapshot.meta
        np.testing.assert_array_equal(found.post(*V), snapshot.post(*V))
        np.testing.assert_array_equal(found.extra["extra.t.head.weight"], np.eye(2))
    assert found.fisher(*V) is None
    file.unlink()
    with pytest.raises(UserError, match="is gone"):
        by_file("a", file)


def test_a_file_in_memory_is_not_read_again(snapshot: Snapshot, tmp_path: Path) -> None:
    file = tmp_path / "a.beft.safetensors"
    write_snapshot(file, snapshot)
    found = received(by_file("a", file))
    file.unlink()
    np.testing.assert_array_equal(found.pre(*V), snapshot.pre(*V))
