"""Pages ask a score that was added to the registry, like every other."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import streamlit as st
from dashboard_tools import charts, headings, opened
from toy_approach import TOY

from beft_core.scores.approaches import APPROACHES


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The registry with one more entry; tables that were scored without it are forgotten, before and after."""
    monkeypatch.setitem(APPROACHES, TOY.key, TOY)
    st.cache_data.clear()
    yield
    st.cache_data.clear()


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
