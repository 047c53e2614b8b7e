"""The folder of an adapter: what is written beside a snapshot, and that a broken write never mixes two."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from example_snapshots import example
from safetensors.numpy import load_file

from beft_core.errors import UserError
from beft_core.files.safetensors_file import write_safetensors
from beft_core.snapshots import adapter_folder
from beft_core.snapshots.adapter_folder import CONFIG, WEIGHTS, AdapterFolder, read_adapter
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


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    ADAPTER.write(tmp_path)
    again = read_adapter(tmp_path)
    assert again.config == ADAPTER.config and again.digest() == ADAPTER.digest()


def test_a_strangers_folder_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(said: str) -> None:
        with pytest.raises(UserError, match=said) as caught:
            read_adapter(tmp_path)
        assert "\n" not in str(caught.value)

    (tmp_path / "adapter_model.bin").write_bytes(b"\x80\x04cos\nsystem\n.")
    (tmp_path / CONFIG).write_text("{}")
    refused("got no adapter in")  # a pickle is none
    (tmp_path / WEIGHTS).write_bytes((tmp_path / "adapter_model.bin").read_bytes() * 10)
    refused("safetensors file")
    write_safetensors(tmp_path / WEIGHTS, {"x": np.ones(2, np.int64)}, {})
    refused("'x' is not float32")
    write_safetensors(tmp_path / WEIGHTS, {"x": np.array([1, np.nan], np.float32)}, {})
    refused("'x' holds a NaN")
    write_safetensors(tmp_path / WEIGHTS, {"x": np.ones(3, np.float32)}, {})
    (tmp_path / CONFIG).write_text("[" * 100_000)
    refused(CONFIG)
    with (tmp_path / CONFIG).open("wb") as file:
        file.truncate(2**34)
    refused("at most")
    (tmp_path / CONFIG).write_text("{}")
    monkeypatch.setattr(adapter_folder, "MAX_BYTES", 11)
    refused("12 bytes of values; expected at most 11")
