"""Snapshots from and to other programs, by the command line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from cli_runner import assert_refused, beft

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
    assert back.json["changed_terms"] == ["v"]
    imported = read_snapshot("back.beft.safetensors")
    np.testing.assert_allclose(imported.post("encoder", "v"), moved, atol=1e-6)
    assert imported.meta.task == "rte"
