"""Adding a score that needs nothing new is one entry of the registry: everything else follows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from cli_runner import beft
from dashboard_tools import charts, headings, opened
from example_snapshots import base, example
from fake_worker import small_snapshot

from beft_core.scores.approaches import APPROACHES, Approach, Question
from beft_core.scores.plane import trajectory
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import write_snapshot

TOY = Approach(
    "toy",
    "Toy score",
    "2 · Σ |post − pre|",
    "nobody, https://example.org/toy",
    lambda movement: 2 * movement.magnitude(),
    Question("play", "How much did it play?", "played"),
    caveat="Made up for a test.",
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The registry with one more entry; tables that were scored without it are forgotten, before and after."""
    monkeypatch.setitem(APPROACHES, TOY.key, TOY)
    st.cache_data.clear()
    yield
    st.cache_data.clear()


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


@pytest.mark.usefixtures("lab", "toy")
def test_the_page_which_bias_matters_asks_it() -> None:
    at = opened("importance")
    assert len(headings(at)) == 4 and "Toy score" in headings(at)[-1]
    assert any(caption.value.startswith("How much did it play?") for caption in at.caption)
    assert charts(at) == 8  # four rankings, four heatmaps; a cell is drawn on demand
    assert any("Made up for a test" in m.value for m in at.markdown)


@pytest.mark.usefixtures("lab", "toy")
def test_the_page_compare_has_it() -> None:
    at = opened("compare", by="Toy score")
    control = next(one for one in at.segmented_control if one.key == "by")
    assert "Toy score" in control.options and control.value == "Toy score"
    drawn = [json.loads(one.proto.spec) for one in at.get("plotly_chart") if "compare-overview" in one.proto.id]
    titles = [note["text"] for figure in drawn for note in figure["layout"]["annotations"]]
    assert any("Toy" in title for title in titles)
