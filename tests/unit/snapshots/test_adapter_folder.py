"""The folder of an adapter: what is written beside a snapshot, and that a broken write never mixes two."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from example_snapshots import example
from safetensors.numpy import load_file

from beft_core.errors import UserError
from beft_core.snapshots.adapter_folder import CONFIG, WEIGHTS, AdapterFolder
from beft_core.snapshots.snapshot import adapter_beside, read_snapshot, write_snapshot

ADAPTER = AdapterFolder({"peft_type": "LORA", "r": 4}, {"base_model.model.x": np.ones((2, 3), np.float32)})


def test_a_snapshot_is_written_with_its_adapter(tmp_path: Path) -> None:
    file = tmp_path / "one.beft.safetensors"
    snapshot = example()
    snapshot.adapter = ADAPTER
    write_snapshot(file, snapshot)
    folder = adapter_beside(file)
    assert folder == tmp_path / "one.adapter"
    assert json.loads((folder / CONFIG).read_text()) == ADAPTER.config
    np.testing.assert_array_equal(load_file(folder / WEIGHTS)["base_model.model.x"], 1)
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS]
    assert read_snapshot(file).adapter is None


def test_copies_of_a_snapshot_keep_the_adapter() -> None:
    snapshot = example()
    snapshot.adapter = ADAPTER
    assert snapshot.with_meta(snapshot.meta).adapter is ADAPTER


def test_a_digest_knows_the_values_and_their_names() -> None:
    values = ADAPTER.tensors["base_model.model.x"]
    same = AdapterFolder({}, {"base_model.model.x": values.copy()})
    assert same.digest() == ADAPTER.digest()
    others = [AdapterFolder({}, {"base_model.model.y": values}), AdapterFolder({}, {"base_model.model.x": values + 1})]
    assert len({one.digest() for one in (ADAPTER, *others)}) == 3


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make"):
        ADAPTER.write(tmp_path / "file" / "adapter")
