"""A folder of bundled samples with made-up biases, for tests of the dashboard."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from fake_worker import small_snapshot

from beft_core.snapshots.snapshot import write_snapshot

SAMPLES = {"probe": "A probe", "other": "Another probe"}


def write_samples(folder: Path) -> None:
    """Two probes with their index."""
    folder.mkdir()
    for seed, name in enumerate(SAMPLES):
        (folder / f"{name}.beft.safetensors").write_bytes(_probe(seed))
    write_index(folder, SAMPLES)


@cache
def _probe(seed: int) -> bytes:
    """Give the file of a small probe; made once, as hundreds of tests begin with these two."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "probe.beft.safetensors"
        write_snapshot(file, small_snapshot(seed))
        return file.read_bytes()


def write_index(folder: Path, titles: Mapping[str, str]) -> None:
    """``index.json`` over files whose names and titles are given; the first is the default."""
    entries = [
        {"file": f"{name}.beft.safetensors", "title": title, "shows": f"{title} to look at.", "kind": "probe"}
        for name, title in titles.items()
    ]
    index = {"samples": entries, "default": entries[0]["file"]}
    (folder / "index.json").write_text(json.dumps(index))
