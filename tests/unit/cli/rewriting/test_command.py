"""``beft rewrite``: the answer first, the numbers below, a snapshot of the rewritten model."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runner import assert_refused, beft, stored
from example_snapshots import base

from beft_core.snapshots.snapshot import read_snapshot

PROBE = Path(__file__).parents[4] / "sample_snapshots" / "sst2-low-seed0-probe.beft.safetensors"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_answer_comes_first_and_the_file_is_a_snapshot(folder: Path) -> None:
    done = beft("rewrite", PROBE, "--shift", 5, "--out", "moved.beft.safetensors")
    first, *rest = done.out.splitlines()
    assert first.startswith("every output stays; projection ratio of v 0.580 -> 0.088, below q 0.118")
    assert "over 20 random directions: v 0.078 to 0.099 at r = 5; flips in 20 of them" in " ".join(rest)
    assert "left out" not in done.err
    scored = beft("score", "moved.beft.safetensors", "--json").json["files"][0]
    assert scored["selected"]["encoder"] == {
        **beft("score", PROBE, "--json").json["files"][0]["selected"]["encoder"],
        "projection_ratio": "q",
    }
    assert read_snapshot(folder / "moved.beft.safetensors").meta.provenance["rewritten"]["shift"] == 5


def test_json_says_the_same(folder: Path) -> None:
    document = beft("rewrite", PROBE, "--scale", 10, "--json").json
    assert document["flip"] is None and document["directions"] is None and document["written"] is None
    means = document["means"]
    assert means["magnitude"]["v"]["after"] == pytest.approx(10 * means["magnitude"]["v"]["before"])
    assert means["projection_ratio"]["v"]["after"] == pytest.approx(means["projection_ratio"]["v"]["before"])
    assert beft("rewrite", PROBE, "--shift", 5, "--json").json["flip"]["after"] == "q"


def test_without_the_weights_b_o_is_left_out(folder: Path) -> None:
    done = beft("rewrite", stored(folder, null_terms=("k",), pre=base(terms=("q", "k", "v", "o"))), "--shift", 2)
    assert done.status == 0 and "b_o: it is left out (--model)" in done.err


def test_wrong_input_is_told(folder: Path) -> None:
    assert "--shift 5" in assert_refused(beft("rewrite", PROBE))
    assert "0 to 100" in assert_refused(beft("rewrite", PROBE, "--shift", 1000))
    for flags in (["--seed", 3], ["--direction", "along"]):
        assert "without --shift" in assert_refused(beft("rewrite", PROBE, "--scale", 2, *flags))
    assert "got --seed with --direction along" in assert_refused(
        beft("rewrite", PROBE, "--shift", 1, "--direction", "along", "--seed", 3)
    )
    assert "random, along, against" in assert_refused(beft("rewrite", PROBE, "--shift", 1, "--direction", "up"))
    assert "differ from those" in assert_refused(
        beft("rewrite", stored(folder, null_terms=("k",)), "--shift", 1, "--model", "bundled")
    )
