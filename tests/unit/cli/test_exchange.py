"""Snapshots from and to other programs, by the command line."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cli_runner import assert_refused, beft
from example_snapshots import example

from beft_core.snapshots.snapshot import Snapshot, read_snapshot, write_snapshot


def test_extract_and_peft_there_and_back(folder: Path) -> None:
    result = beft("extract", "bundled", "bundled", "--out", "base.beft.safetensors", "--json")
    assert result.status == 0, result.err
    assert result.json["changed_terms"] == []
    untouched = read_snapshot("base.beft.safetensors")
    pre = {key: untouched.pre(*key) for key in untouched.keys()}  # noqa: SIM118 - a method of Snapshot
    moved = pre["encoder", "v"] + np.float32(0.25)
    tuned = Snapshot.build(
        dataclasses.replace(untouched.meta, trained_terms=("v",)), pre, pre | {("encoder", "v"): moved}
    )
    write_snapshot("v.beft.safetensors", tuned)
    assert beft("peft", "export", "v.beft.safetensors", "adapter").status == 0
    assert "exists" in assert_refused(beft("peft", "export", "v.beft.safetensors", "adapter"))
    words = ["--base", "bundled", "--task", "rte", "--out", "back.beft.safetensors", "--json"]
    back = beft("peft", "import", "adapter", *words)
    assert back.json["changed_terms"] == ["v"] and "names" not in back.err
    config = folder / "adapter" / "adapter_config.json"
    config.write_text(config.read_text().replace("all-MiniLM-L6-v2", "another-of-its-shape"))
    other = beft("peft", "import", "adapter", "--base", "bundled", "--out", "other.beft.safetensors")
    assert "names sentence-transformers/another-of-its-shape as its base, and was put on bundled" in other.err
    imported = read_snapshot("back.beft.safetensors")
    np.testing.assert_allclose(imported.post("encoder", "v"), moved, atol=1e-6)
    assert imported.meta.task == "rte"


def test_what_cannot_be_exported_is_said_before_a_model_is_opened(folder: Path) -> None:
    snapshot = example()
    write_snapshot("v.beft.safetensors", snapshot)
    (folder / "full").mkdir()
    (folder / "full" / "notes.txt").write_text("mine")
    assert "got full, which exists" in assert_refused(beft("export", "v.beft.safetensors", "--merged", "full"))
    assert (folder / "full" / "notes.txt").read_text() == "mine"
    beside, changed = "whose result is the adapter beside it", "whose weights changed too"
    for mode, merged, exported in (
        ("lora", "got no adapter in other.adapter", beside),
        ("prefix", "whose vectors stand before the text", beside),
        ("full", changed, changed),
    ):
        write_snapshot("other.beft.safetensors", snapshot.with_meta(dataclasses.replace(snapshot.meta, mode=mode)))
        assert merged in assert_refused(beft("export", "other.beft.safetensors", "--merged", "new"))
        assert exported in assert_refused(beft("peft", "export", "other.beft.safetensors", "new"))
    wrong = beft("export", "v.beft.safetensors", "--merged", "new", "--dtype", "int4")
    assert "got --dtype int4; expected one of base, float32" in assert_refused(wrong)
    for words in (("export", "v.beft.safetensors", "--merged", "new"), ("peft", "export", "v.beft.safetensors", "new")):
        assert "got a snapshot without a head for rte" in assert_refused(beft(*words, "--task", "rte"))
    assert not (folder / "new").exists()


@pytest.mark.parametrize(("rounding", "noted"), [(0.0, False), (0.004, True)])
def test_a_merged_folder_says_its_type_and_what_that_took(
    rounding: float, noted: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def write(snapshot: Snapshot, target: str, **options: Any) -> SimpleNamespace:
        asked.update(options, target=target)
        Path(target).mkdir()
        (Path(target) / "config.json").touch()
        return SimpleNamespace(folder=Path(target), dtype="bfloat16", rounding=rounding, bytes=2_000_000)

    # The module itself needs PyTorch, which takes seconds to start.
    monkeypatch.setitem(sys.modules, "beft_core.inference.merged_folder", SimpleNamespace(write_merged=write))  # type: ignore[arg-type]
    write_snapshot("v.beft.safetensors", example())
    done = beft("export", "v.beft.safetensors", "--merged", "new", "--base", "bundled", "--dtype", "float32")
    assert done.status == 0, done.err
    assert "wrote config.json to new (bfloat16, 2.0 MB of weights)" in done.out
    assert {name: asked[name] for name in ("target", "base", "task", "dtype")} == {
        "target": "new",
        "base": "bundled",
        "task": None,
        "dtype": "float32",
    }
    said = "up to 0.4% of a bias's change is lost; --dtype float32 keeps all of it" in done.err
    assert said == noted
    document = beft("export", "v.beft.safetensors", "--merged", "other", "--json").json
    assert document == {
        "folder": "other",
        "files": ["config.json"],
        "dtype": "bfloat16",
        "rounding": rounding,
        "bytes": 2_000_000,
    }
    assert asked["dtype"] == "base"
