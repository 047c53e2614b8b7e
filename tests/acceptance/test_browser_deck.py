"""The deck in a real browser: by keyboard from the first stop to the last and back, each on one screen of two sizes."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from browser_tools import PATIENCE, Visit, see
from playwright.sync_api import Page, expect

from dashboard.deck.stops import STOPS, Stop

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("bundled_samples")]

SMALL, LARGE = {"width": 1280, "height": 720}, {"width": 1920, "height": 1080}
LEAST_PIXELS = 24
"""Size of type of an answer in a window of 1920 x 1080."""

ANSWERS = {"geometry": ".seen", "pushes": ".st-key-stage-picture p"}
"""Stop -> where its answer stands, if not in the page's container for it."""
DRAWN = {
    "pushes": ".js-plotly-plot .main-svg",
    "scores": ".js-plotly-plot .main-svg",
    "dial": ".js-plotly-plot .main-svg",
    "rewrite": ".js-plotly-plot .main-svg",
    "geometry": ".picture",
    "merge": ".panel image",
    "claims": ".stMarkdownBadge",
}
"""Stop -> what its picture consists of, once it is drawn."""

OUTSIDE = """() => {
    const bar = document.querySelector(".st-key-deck-bar").closest("[data-testid=stLayoutWrapper]");
    const foot = bar.getBoundingClientRect().top, main = document.querySelector("[data-testid=stMain]");
    const stages = [...document.querySelectorAll('[class*="st-key-stage-"]')];
    const parts = stages.flatMap(stage => [stage, ...stage.querySelectorAll(".js-plotly-plot, p, h4, button")]);
    const seen = parts.filter(part => part.checkVisibility());
    const wrong = seen.map(part => [part.className, part.getBoundingClientRect()])
        .filter(([, at]) => at.top < 0 || at.left < 0 || at.right > innerWidth + 1 || at.bottom > foot + 1)
        .map(([name, at]) => `${name}: ${[at.left, at.top, at.right, at.bottom].map(Math.round)}`);
    return {
        wrong, stages: stages.filter(stage => stage.checkVisibility()).length,
        scrolls: main.scrollHeight - main.clientHeight, foot: Math.round(innerHeight - foot),
    };
}"""
"""What of a stop is not between the upper edge of the window and the bar, and by how much the page would scroll."""


def arrived(visit: Visit, stop: Stop) -> None:
    """Wait until a stop is drawn whole."""
    page = visit.page
    see(page.get_by_role("heading", level=1, name=stop.title))
    see(page.get_by_role("button", name=re.compile(f"^Stop {STOPS.index(stop) + 1} of {len(STOPS)}: ")))
    page.wait_for_url(re.compile(rf"[?&]stop={stop.key}\b"), timeout=PATIENCE)
    visit.settle()
    assert page.url.count("present=true") == 1
    if stop.key in DRAWN:
        see(page.locator(DRAWN[stop.key]).first)
    expect(page.locator('[data-stale="true"]')).to_have_count(0)


PIXELS = "one => parseFloat(getComputedStyle(one).fontSize)"


def on_one_screen(page: Page, stop: Stop) -> None:
    """What the stop shows lies between the upper edge and the bar; nothing has to be scrolled to."""
    page.wait_for_function(f"(({OUTSIDE})()).scrolls <= 0", timeout=15_000)
    found: dict[str, Any] = page.evaluate(OUTSIDE)
    assert found["wrong"] == [], (stop.key, found)
    assert found["stages"] >= 2 and 0 < found["foot"] <= 0.1 * page.viewport_size["height"], (stop.key, found)  # type: ignore[index]
    answer = page.locator(ANSWERS.get(stop.key, ".st-key-stage-answer :is(p, h4)")).first
    expect(answer).to_be_in_viewport(ratio=1)
    if page.viewport_size == LARGE:
        # A window that has just grown is drawn once more, in its type.
        deadline = time.monotonic() + 15
        while (size := float(answer.evaluate(PIXELS))) < LEAST_PIXELS:
            assert time.monotonic() < deadline, (stop.key, size)
            page.wait_for_timeout(100)


def test_a_clicker_leads_through_the_deck_and_back_one_screen_each(visit: Visit) -> None:
    page = visit.page
    page.set_viewport_size(SMALL)  # type: ignore[arg-type]
    visit.open(present="true")  # the link of a lecture: the deck begins
    for stop in STOPS:
        arrived(visit, stop)
        on_one_screen(page, stop)
        page.keyboard.press("PageDown" if STOPS.index(stop) % 2 else "ArrowRight")
    arrived(visit, STOPS[-1])  # it ends there
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(LARGE)  # type: ignore[arg-type]
    for stop in reversed(STOPS):
        arrived(visit, stop)
        on_one_screen(page, stop)
        page.keyboard.press("PageUp" if STOPS.index(stop) % 2 else "ArrowLeft")
    arrived(visit, STOPS[0])
    assert not visit.complaints, visit.complaints


def test_keys_are_left_to_who_writes_and_lead_to_both_ends_and_out(visit: Visit) -> None:
    page = visit.open(present="true", stop="guess")
    arrived(visit, STOPS[0])
    words = page.get_by_role("textbox", name="Your sentence")
    words.focus()
    for key in ("ArrowRight", "PageDown", "End", "Escape"):
        page.keyboard.press(key)
    visit.settle()
    page.wait_for_url(re.compile("stop=guess"), timeout=PATIENCE)
    page.get_by_role("button", name="what a word looks for").click()  # the room has voted
    page.wait_for_url(re.compile("guess=q"))
    visit.settle()
    page.keyboard.press("PageDown")
    arrived(visit, STOPS[1])
    see(page.get_by_role("img", name=re.compile("query bias, b_q: .* \\(your guess\\)")))
    page.keyboard.press("End")
    arrived(visit, STOPS[-1])
    page.keyboard.press("Home")
    arrived(visit, STOPS[0])
    page.get_by_role("button", name="Link", exact=True).click()
    dialog = page.get_by_role("dialog")
    see(dialog.get_by_role("img", name="QR code of the link below"))
    see(dialog.get_by_text("Phones cannot reach this address"))
    assert dialog.get_by_role("textbox", name="Link").input_value() == page.url
    dialog.get_by_role("button", name="Copy the link").click()
    see(dialog.get_by_role("status").filter(has_text=re.compile("Copied|Ctrl")))
    page.keyboard.press("End")  # has nothing to do with the deck while the dialog is open
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    arrived(visit, STOPS[0])
    page.keyboard.press("Escape")
    see(page.get_by_role("button", name=re.compile("^The tour: ")))
    expect(page.locator(".st-key-deck-bar")).to_have_count(0)
    visit.settle()
    assert "stop=" not in page.url and "present=" not in page.url
    assert not visit.complaints, visit.complaints
