"""Adding a score that needs nothing new is one entry of the registry: everything else follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_runner import beft
from example_snapshots import base, example
from fake_worker import small_snapshot
from toy_approach import TOY

from beft_core.scores.approaches import APPROACHES
from beft_core.scores.plane import trajectory
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import write_snapshot


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry with one more entry."""
    monkeypatch.setitem(APPROACHES, TOY.key, TOY)


@pytest.mark.usefixtures("toy")
def test_it_is_in_the_table_and_in_a_trajectory() -> None:
    snapshot = small_snapshot(0)
    table = score_snapshot(snapshot)
    assert table.approaches[-1] == "toy" and table.selected()["toy"] == table.selected()["magnitude"]
    l1 = float(np.abs(snapshot.post("encoder", "v").astype(float) - snapshot.pre("encoder", "v")).sum(axis=1).mean())
    assert table.mean_scores("toy")["v"] == pytest.approx(2 * l1)
    followed = trajectory(example(full=True), "encoder")
    assert followed is not None
    for path in followed.paths:
        np.testing.assert_allclose(path.scores["toy"], 2 * path.scores["magnitude"])


@pytest.mark.usefixtures("toy")
def test_the_command_line_prints_it(tmp_path: Path) -> None:
    path = tmp_path / "a.beft.safetensors"
    write_snapshot(path, example(pre=base()))
    document = beft("score", str(path), "--json").json
    toy, l1 = ([row for row in document["files"][0]["means"] if row["approach"] == key] for key in ("toy", "magnitude"))
    assert len(toy) == len(l1) > 1
    assert [row["score"] for row in toy] == pytest.approx([2 * row["score"] for row in l1])
    assert "Toy score" in beft("score", str(path)).out
