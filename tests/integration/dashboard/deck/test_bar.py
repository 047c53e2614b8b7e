"""The bar of presenter mode, in process: every stop by its link, the ways on and out, the size of the window."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dashboard_tools import ROOT, opened, sound
from streamlit.testing.v1 import AppTest

from dashboard.content.places import PLACES
from dashboard.deck.stops import STOPS, Stop
from dashboard.shared import page

SAMPLES = ROOT / "sample_snapshots"


@pytest.fixture(autouse=True)
def samples(lab: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The samples that come with the lab, which the deck is about."""
    monkeypatch.setenv("BEFT_SAMPLES_DIR", str(SAMPLES))
    yield


def at_stop(stop: Stop, **more: str) -> AppTest:
    return opened(stop.page, present="true", stop=stop.key, **stop.query, **more)


def keys(at: AppTest) -> set[str]:
    """Keys of the containers of a page."""
    found: set[str] = set()

    def walk(node: Any) -> None:
        name = getattr(getattr(node, "proto", None), "id", "")
        found.add(name[len("$$ID-") + 33 :])
        for child in getattr(node, "children", {}).values():
            walk(child)

    walk(at.main)
    return found


def links(at: AppTest) -> dict[str, str]:
    return {link.proto.label: link.proto.query_string for link in at.get("page_link")}


def labels(at: AppTest) -> list[str]:
    return [popover.proto.popover.label for popover in at.get("popover")]


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.key)
def test_every_stop_opens_by_its_link_and_marks_what_it_shows(stop: Stop) -> None:
    at = at_stop(stop)
    assert [title.value for title in at.title] == [stop.title]
    assert stop.says in [one.value for one in at.markdown]
    assert {"stage-title", "stage-picture", "deck-bar", "deck-next", "deck-previous"} <= keys(at)
    said = {name: at.query_params[name] for name in stop.query}
    assert said in (dict(stop.query), {name: [value] for name, value in stop.query.items()})  # the page knows them
    assert f"Stop {STOPS.index(stop) + 1} of {len(STOPS)}: {stop.title}" in labels(at)
    assert not at.error and not at.warning


def test_back_and_next_lead_along_the_table_and_keep_the_guess() -> None:
    first, last = (
        {link.proto.label: link.proto.disabled for link in at_stop(stop).get("page_link")}
        for stop in (STOPS[0], STOPS[-1])
    )
    assert first["Back"] and not first["Next"] and last["Next"] and not last["Back"]
    guessed = opened("start", present="true", stop="guess", guess="q", hide="choose", tour="guess")
    assert links(guessed)["Next"] == "tour=guess&present=true&hide=choose&stop=reveal&guess=q"
    assert links(guessed)["Back"].endswith("stop=guess")


def test_a_link_to_a_stop_is_not_overtaken_by_what_was_pressed_before_it() -> None:
    """Whoever guesses again and goes on at once sees the answer: the link has it, though a button had just taken it."""
    at = opened("start", present="true", stop="reveal", guess="seen")
    next(button for button in at.button if button.label == "Guess again").click().run()
    assert "guess" not in at.query_params
    at.query_params["stop"], at.query_params["guess"], at.query_params["next"] = "limit", "seen", "1"
    sound(at.run())
    assert at.query_params["guess"] in ("seen", ["seen"])
    assert [title.value for title in at.title] == ["The same question on another task"]


def test_an_answer_that_nobody_guessed_is_nobodys() -> None:
    at = at_stop(STOPS[1])
    shown = " ".join(str(html.proto.body) for html in at.get("html"))
    assert "trained alone" in shown and "your guess" not in shown
    assert not any(one.value.startswith("Right:") for one in at.markdown)


def test_presenter_mode_begins_with_the_deck_where_nobody_set_the_page_up() -> None:
    at = opened("merge", present="true")
    assert at.query_params["stop"] in ("merge", ["merge"])
    whole = next(button for button in at.button if button.label == "The whole page, in large type").click().run()
    assert sound(whole).title[0].value == "Merge" and whole.query_params["stop"] in ("off", ["off"])
    assert "deck-bar" in keys(whole) and any(label.startswith("To the deck, stop 8 of 10") for label in links(whole))
    own = opened("merge", present="true", plane_a="0.7")
    assert "stop" not in own.query_params and own.title[0].value == "Merge"
    assert "stop" not in opened("runs", present="true").query_params


def test_leaving_keeps_the_page_and_its_state() -> None:
    at = opened("dial", present="true", stop="dial", dial_lambda="0.5")
    sound(at.button(key="deck-leave").click().run())
    assert at.title[0].value == PLACES["dial"].title and not at.toggle(key="present").value
    assert "stop" not in at.query_params and "present" not in at.query_params
    assert at.slider(key="dial_lambda").value == 0.5 and "deck-bar" not in keys(at)


def test_outside_of_presenter_mode_there_is_no_bar_even_if_the_link_names_a_stop() -> None:
    at = opened("dial", stop="dial")
    assert at.title[0].value == PLACES["dial"].title and "deck-bar" not in keys(at)


def test_type_and_figures_grow_with_the_window() -> None:
    def sizes(window: float) -> tuple[float, float]:
        at = at_stop(next(stop for stop in STOPS if stop.key == "dial"))
        at.session_state["window"] = window
        sound(at.run())
        style = next(str(html.proto.body) for html in at.get("html") if "html { font-size" in str(html.proto.body))
        curve = next(chart for chart in at.get("plotly_chart") if "dial-curve" in chart.proto.id)
        return float(re.findall(r"font-size: ([\d.]+)px", style)[0]), json.loads(curve.proto.spec)["layout"]["height"]

    (type_720, height_720), (type_1080, height_1080) = sizes(1.0), sizes(1.5)
    assert type_720 == pytest.approx(page.ROOM_PIXELS)
    assert type_1080 == pytest.approx(1.5 * type_720) and height_1080 == pytest.approx(1.5 * height_720)
    assert type_1080 >= 24


@pytest.mark.parametrize("sent", [None, "2", True, float("nan"), 0.01, 100, {"scale": 2}])
def test_no_other_size_of_a_window_is_taken(sent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, Any] = {}
    monkeypatch.setattr(page.st, "session_state", state)
    page.scaled(sent)
    assert not state and page.window() == 1.0
