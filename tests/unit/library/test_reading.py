"""Reading, scoring, comparing and merging through the package: the engine's numbers, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from example_snapshots import example

import beft_core
from beft_core.errors import UserError
from beft_core.merging.merge import merge as merged_by_engine
from beft_core.snapshots.snapshot import SUFFIX, write_snapshot

ROOT = Path(__file__).parents[3]

_FRESH = """
import sys
import beft_core
files = sys.argv[1:]
snapshot = beft_core.load_snapshot(files[0])
repr(snapshot), snapshot._repr_html_(), repr(beft_core.score(files[0])), beft_core.score(snapshot).to_pandas()
repr(beft_core.compare(files)), beft_core.compare(*files).to_pandas()
repr(beft_core.merge(files, method="ties", density=0.5))
snapshot.plot()
heavy = sorted({"torch", "transformers", "datasets", "streamlit"} & set(sys.modules))
sys.exit(f"imported {heavy}" if heavy else 0)
"""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two snapshots of one base model."""
    paths = [tmp_path / f"{name}{SUFFIX}" for name in ("one", "other")]
    for seed, path in enumerate(paths, 1):
        write_snapshot(path, example(seed, full=True))
    return paths


def test_none_of_it_imports_torch(files: list[Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FRESH, *map(str, files)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_snapshots_are_given_by_path_or_in_memory_one_by_one_or_as_a_list(files: list[Path]) -> None:
    one, other = map(beft_core.load_snapshot, files)
    whole = beft_core.compare(one, other)
    assert whole.names == ("one", "other")
    assert beft_core.compare([str(files[0]), other]).to_pandas().equals(whole.to_pandas())
    assert beft_core.score(files[0]).to_pandas().equals(beft_core.score(one).to_pandas())


def test_merges_are_the_engines(files: list[Path]) -> None:
    one, other = map(beft_core.load_snapshot, files)
    merged = beft_core.merge(one, other, method="ties", density=0.3, terms="q v")
    expected = merged_by_engine([one, other], "ties", terms=["q", "v"], density=0.3)
    assert merged.keys() == expected.keys() == [("encoder", "q"), ("encoder", "v")]
    assert all(np.array_equal(merged.post(*key), expected.post(*key)) for key in expected.keys())  # noqa: SIM118
    assert set(merged.meta.heads) == {"task1", "task2"}
    by_fisher = beft_core.merge(files, method="fisher")
    assert np.array_equal(by_fisher.post("encoder", "v"), merged_by_engine([one, other], "fisher").post("encoder", "v"))


def test_wrong_values_are_told_in_one_line(files: list[Path]) -> None:
    for call, words in [
        (lambda: beft_core.load_snapshot("no-such-file.beft.safetensors"), "no-such-file"),
        (lambda: beft_core.load_snapshot(3), "got a int for a snapshot"),
        (lambda: beft_core.score(None), "got a NoneType for a snapshot"),
        (lambda: beft_core.compare(files[0]), "got 1 snapshot.s. to compare; expected two or more"),
        (lambda: beft_core.merge(files, method="tie"), "merge method 'tie'"),
        (lambda: beft_core.merge(files, method="ties", densty=0.5), "densty"),
        (lambda: beft_core.merge(files, terms=5), "got terms = '5'"),
        (lambda: beft_core.merge(files, method="ties", density="much"), "density"),
        (lambda: beft_core.merge(files, method=["ties"]), "got method = "),
    ]:
        with pytest.raises(UserError, match=words):
            call()
