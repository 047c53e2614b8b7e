"""The first minute in a real browser, offline: a guess, its answer, a link to it, a step of the tour."""

from __future__ import annotations

import re

import pytest
from browser_tools import Visit
from playwright.sync_api import expect

pytestmark = pytest.mark.timeout(600)


def test_guess_and_reveal(visit: Visit) -> None:
    page = visit.open()
    expect(page.get_by_text("0 of 6 steps")).to_be_visible()
    visit.check("start")
    page.get_by_role("button", name="what a word looks for").click()
    expect(page.get_by_text("your guess")).to_be_visible()
    expect(page.get_by_text("1 of 6 steps")).to_be_visible()
    page.wait_for_url(re.compile(r"guess=q"))
    page.wait_for_url(re.compile(r"tour=guess"))
    visit.check("start-answer")
    page.goto(page.url)
    expect(page.get_by_text("your guess")).to_be_visible()
    page.get_by_role("link", name="Click a cell of a heatmap").click()
    expect(page.get_by_role("heading", name="Which bias matters?")).to_be_visible()
    page.wait_for_url(re.compile(r"/importance\?(.*&)?tour=guess"))


def test_the_navigation_keeps_the_progress_of_the_tour(visit: Visit) -> None:
    page = visit.open(tour="guess.cell")
    expect(page.get_by_text("2 of 6 steps")).to_be_visible()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Compare").click()
    expect(page.get_by_role("heading", name="Compare", level=1)).to_be_visible()
    page.wait_for_url(re.compile(r"/compare\?(.*&)?tour=guess.cell"))
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Start").click()
    expect(page.get_by_text("2 of 6 steps")).to_be_visible()


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
