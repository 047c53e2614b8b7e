"""Presenter mode and the read-only server: what they show, hide and lock, on every page."""

from __future__ import annotations

import json

import plotly.graph_objects as go
import pytest
from dashboard_tools import button, opened, sound
from streamlit.testing.v1 import AppTest

from beft_core.runs.directory import list_runs
from dashboard.components import page
from dashboard.components.figure import html

pytestmark = pytest.mark.usefixtures("lab")

STARTS = ("launch", "start", "evaluate", "delete", "keep", "resume", "run the", "do it live")
"""Words with which the buttons begin that start, delete or store something."""


def styles(at: AppTest) -> str:
    return " ".join(str(element.proto.body) for element in at.get("html"))


def test_the_link_opens_presenter_mode_with_what_it_hides() -> None:
    at = opened("importance", present="true", hide="details")
    assert at.toggle(key="present").value
    assert "font-size" in styles(at)
    assert 'st-key-control-details-"' in styles(at) and 'st-key-control-choose-"' not in styles(at)


def test_by_default_a_presenter_hides_choosing_and_downloads() -> None:
    at = opened("importance", present="true")
    assert 'st-key-control-choose-"' in styles(at) and 'st-key-control-downloads-"' in styles(at)
    assert at.selectbox(key="snapshot").value == "A probe"  # hidden, but still there: the link keeps its value


def test_without_it_nothing_is_hidden() -> None:
    assert "font-size" not in styles(opened("importance"))


@pytest.mark.parametrize("how", ["presenter", "read only"])
@pytest.mark.parametrize("name", page.PLACES)
def test_nothing_can_be_started_or_deleted(how: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "read only":
        monkeypatch.setenv("BEFT_READ_ONLY", "1")
    at = opened(name, present="true") if how == "presenter" else opened(name)
    for one in at.button:
        if one.label.lower().startswith(STARTS):
            assert one.disabled, one.label


def test_a_click_that_comes_all_the_same_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    at = opened("importance")
    launch = button(at, "Run the one-minute experiment")
    assert not launch.disabled
    monkeypatch.setenv("BEFT_READ_ONLY", "1")  # the page was drawn before
    launch.click().run()
    sound(at)
    assert not list_runs()


@pytest.mark.parametrize("name", page.PLACES)
def test_no_chart_offers_to_be_sent_away(name: str) -> None:
    query = {"guess": "v", "why_seen": "b_k", "geo": "Every layer"}
    configs = [json.loads(chart.proto.config) for chart in opened(name, **query).get("plotly_chart")]
    assert all(config["showSendToCloud"] is False for config in configs)
    assert configs or name not in ("start", "importance", "geometry", "compare")


def test_nor_does_a_downloaded_one() -> None:
    page_of_its_own = html(go.Figure(go.Scatter(y=[1, 2])), dark=False)
    assert '"showSendToCloud": false' in page_of_its_own
