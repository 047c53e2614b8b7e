"""A small folder of the samples that come with the lab: two tasks, a probe and the three terms alone of each."""

from __future__ import annotations

import json
from pathlib import Path

SAMPLES = Path(__file__).parents[1] / "sample_snapshots"
KINDS = ("probe", "v-only", "q-only", "k-only")
KEPT = tuple(f"{task}-low-seed0-{kind}" for task in ("sst2", "stsb") for kind in KINDS)
DIAL = "stsb-low-seed0-v-only.dial.json"


def write_few_samples(folder: Path) -> Path:
    """Link them, the plane of their merge, and one dial, into a new folder; return it."""
    folder.mkdir()
    files = {f"{name}.beft.safetensors" for name in KEPT}
    for name in (*files, DIAL, "evaluations.json"):
        (folder / name).symlink_to(SAMPLES / name)
    index = json.loads((SAMPLES / "index.json").read_text(encoding="utf-8"))
    index["samples"] = [one for one in index["samples"] if one["file"] in files]
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder
