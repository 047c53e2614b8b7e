"""The first minute in a real browser, offline: one screen, a guess answered in its place, the limits of the score."""

from __future__ import annotations

import re

import pytest
from browser_tools import Visit, see
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("bundled_samples")]

SCREEN = {"width": 1280, "height": 720}


def scrolled(page: Page) -> int:
    """Pixels of the page that one screen does not show."""
    return int(page.evaluate("(m => m.scrollHeight - m.clientHeight)(document.querySelector('[data-testid=stMain]'))"))


def places(page: Page) -> list[object]:
    """Where the parts stand that must not move at the answer."""
    parts = [
        page.get_by_role("textbox", name="Your sentence"),
        page.get_by_role("button", name="And now SST-2"),
        page.get_by_role("button", name="Run the one-minute experiment"),
    ]
    return [part.bounding_box() for part in parts]


def test_guess_and_reveal(visit: Visit) -> None:
    page = visit.open()
    page.set_viewport_size(SCREEN)  # type: ignore[arg-type]
    see(page.get_by_role("button", name="The tour: 0 of 6 steps"))
    see(page.get_by_role("button", name="Let good ask"))
    visit.settle()
    before = places(page)
    assert scrolled(page) <= 0
    page.get_by_role("button", name="what a word looks for").click()
    answer = page.get_by_role("img", name=re.compile("trained alone. query bias, b_q: .* \\(your guess\\)"))
    see(answer)
    see(page.get_by_text("value bias, ").last)
    see(page.get_by_text(", by far"))
    page.wait_for_url(re.compile(r"guess=q"))
    page.wait_for_url(re.compile(r"tour=guess"))
    visit.settle()
    assert places(page) == before and scrolled(page) <= 0
    page.get_by_role("button", name="And now SST-2").click()
    see(page.get_by_text("as good"))
    assert scrolled(page) <= 0
    visit.check("start-answer", figure=False)
    page.goto(visit.link("next=1"))
    see(page.get_by_text("as good"))
    page.get_by_role("button", name="The tour: 1 of 6 steps").click()
    see(page.get_by_role("link", name="Tour, step 1 of 6, is done. Next: click a cell"))
    page.get_by_test_id("stPopoverBody").get_by_role("link", name="Click a cell of a heatmap").click()
    see(page.get_by_role("heading", name="Which bias matters?"))
    page.wait_for_url(re.compile(r"/importance\?(.*&)?tour=guess"))


def test_attention_on_words_of_ones_own_is_seen_and_stands_still_where_motion_is_unwanted(visit: Visit) -> None:
    page = visit.open(words="<b>Cats</b> sleep")
    token = page.get_by_role("button", name="Let Cats ask")
    see(token)
    assert page.locator(".flow b").count() == 0  # words, not tags
    expect(page.locator(".flow .line.on")).to_have_count(3 * 6 + 1)  # all steps at once
    token.focus()
    page.keyboard.press("Enter")
    see(page.get_by_text("“Cats” asks every word"))
    assert page.locator(".pulse").count() == 0
    page.emulate_media(reduced_motion="no-preference")
    page.get_by_role("button", name="3 receives").click()
    expect(page.locator(".pulse")).to_have_count(6)
    expect(page.locator(".pulse")).to_have_count(0)  # it ends by itself
    page.get_by_role("textbox", name="Your sentence").fill("Dogs bark")
    page.keyboard.press("Enter")
    see(page.get_by_role("button", name="Let bark ask"))
    visit.check("start-words", figure=False)


def test_the_navigation_keeps_the_progress_of_the_tour(visit: Visit) -> None:
    page = visit.open("start", tour="guess.cell")
    see(page.get_by_text("2 of 6 steps"))
    page.wait_for_url(re.compile(r":\d+/\?tour=guess.cell$"))  # its name in the address leads to where it is
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Compare").click()
    see(page.get_by_role("heading", name="Compare", level=1))
    page.wait_for_url(re.compile(r"/compare\?(.*&)?tour=guess.cell"))
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Start").click()
    see(page.get_by_text("2 of 6 steps"))


@pytest.mark.parametrize("visit", [390], indirect=True)
def test_a_phone_shows_the_page_and_not_the_navigation(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 844})
    page = visit.open("runs")
    visit.settle()
    heading = page.get_by_role("heading", level=1)
    place = heading.bounding_box()
    assert place is not None
    middle = {"x": place["x"] + 20, "y": place["y"] + place["height"] / 2}
    on_top = "({x, y}) => document.elementFromPoint(x, y).closest('h1, [data-testid=stSidebar]').tagName"
    assert page.evaluate(on_top, middle) == "H1"
