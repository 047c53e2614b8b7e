"""Presenter mode and the read-only server: what they show, hide and lock, on every page."""

from __future__ import annotations

import json
from pathlib import Path

import plotly.graph_objects as go
import pytest
from dashboard_tools import button, opened, sound
from fake_worker import small_snapshot
from merge_samples import write_pair
from streamlit.testing.v1 import AppTest

from beft_core.config import RunConfig
from beft_core.runs.overview import overview
from beft_core.runs.run import Run, list_runs
from beft_core.runs.status import Status
from beft_core.snapshots.snapshot import write_snapshot
from dashboard.shared import page
from dashboard.shared.figure import html

pytestmark = pytest.mark.usefixtures("lab")

LIVE = {"why_tab": "The trap", "why_seen": "trap"}
STARTS: dict[str, tuple[dict[str, str], set[str]]] = {
    "start": ({}, {"Run the one-minute experiment"}),
    "importance": ({}, {"Run the one-minute experiment"}),
    "geometry": ({}, set()),
    "rewrite": ({"rw": "Scale the weights"}, set()),
    "why": (LIVE, {"Train b_k in bfloat16, here and now"}),
    "evaluation": ({}, set()),
    "fine_tune": ({}, {"Start"}),
    "sweep": ({}, {"Start the sweep"}),
    "runs": ({}, {"Delete"}),
    "merge": ({}, {"Evaluate on all their tasks", "Score the plane"}),
    "dial": ({}, {"Turn the dial"}),
    "compare": ({}, set()),
    "try_it": ({}, set()),
}
"""Page -> what its link says, and the buttons on it that start, delete or store something."""
LOADS: dict[str, set[str]] = {"fine_tune": {"Check it first"}}
"""What a presenter may press and a visitor of a read-only server may not: it loads a model, but stores nothing."""


def styles(at: AppTest) -> str:
    return " ".join(str(element.proto.body) for element in at.get("html"))


def test_the_link_opens_presenter_mode_with_what_it_hides() -> None:
    at = opened("importance", present="true", hide="details", stop="off")
    assert at.toggle(key="present").value
    assert "font-size" in styles(at)
    assert 'st-key-control-details-"' in styles(at) and 'st-key-control-choose-"' not in styles(at)


def test_by_default_a_presenter_hides_choosing_and_downloads() -> None:
    at = opened("importance", present="true")
    assert 'st-key-control-choose-"' in styles(at) and 'st-key-control-downloads-"' in styles(at)
    assert at.selectbox(key="snapshot").value == "A probe"  # hidden, but still there: the link keeps its value


def test_without_it_nothing_is_hidden() -> None:
    assert "html {" not in styles(opened("importance"))


@pytest.fixture
def furnished(lab: Path) -> str:
    """A finished run to delete, two fine-tunes to merge; the label under which the run is ticked."""
    write_pair(lab / "samples")
    run = Run.create("train", RunConfig(task="demo-sentiment", n_train=300).to_dict())
    write_snapshot(run.snapshot, small_snapshot(1))
    run.write_status(Status("done", created=1.0, began=2.0, ended=3.0))
    return overview(run).label


def test_every_page_is_listed() -> None:
    assert set(STARTS) == set(page.PLACES)


@pytest.mark.parametrize("how", ["presenter", "read only"])
@pytest.mark.parametrize("name", STARTS)
def test_nothing_can_be_started_or_deleted(
    how: str, name: str, furnished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locking disables exactly the buttons that start, delete or store something, and these are there without it."""
    query, starts = STARTS[name]

    def enabled(**more: str) -> set[str]:
        at = opened(name, **query, **more)
        if name == "runs":
            at = sound(at.multiselect(key="runs").set_value([furnished]).run())
        return {one.label for one in at.button if not one.disabled and not str(one.key).startswith("deck-")}

    free = enabled()
    if how == "read only":
        monkeypatch.setenv("BEFT_READ_ONLY", "1")
        locked = enabled()
    else:
        locked = enabled(present="true", stop="off")
    assert starts <= free
    loads = LOADS.get(name, set()) if how == "read only" else set()
    assert free - locked == starts | loads and locked <= free


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
    query = {"geo": "Every layer"}
    configs = [json.loads(chart.proto.config) for chart in opened(name, **query).get("plotly_chart")]
    assert all(config["showSendToCloud"] is False for config in configs)
    assert configs or name not in ("importance", "geometry", "compare")


def test_nor_does_a_downloaded_one() -> None:
    page_of_its_own = html(go.Figure(go.Scatter(y=[1, 2])), dark=False)
    assert '"showSendToCloud": false' in page_of_its_own
