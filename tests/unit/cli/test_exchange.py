"""Snapshots from and to other programs, by the command line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
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
