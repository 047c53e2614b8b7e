"""Every control that is drawn here, and not by Streamlit, is reached by Tab, shows it, moves by keys, stays in place.

In a real browser on the bundled samples.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import pytest
from browser_tools import Visit, see
from playwright.sync_api import Locator, Page, TimeoutError, expect

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("bundled_samples")]

LOOK = """one => [one, ...one.querySelectorAll("*")].map(part => {
    const style = getComputedStyle(part);
    return [style.outline, style.boxShadow, style.stroke, style.strokeWidth, style.borderColor].join(" ");
}).join("|")"""
"""What may show that a control has the focus."""


def slider(name: str) -> Callable[[Page], Locator]:
    return lambda page: page.get_by_role("slider", name=re.compile(name)).first


@dataclass(frozen=True)
class Control:
    """Control of a page, the key that moves it, and the attribute or text that then is another one."""

    page: str
    query: dict[str, str]
    find: Callable[[Page], Locator]
    key: str
    attribute: str = "aria-valuetext"


CONTROLS: dict[str, Control] = {
    "the word that asks": Control(
        "", {}, lambda page: page.get_by_role("button", name="Let film ask"), "Enter", "class"
    ),
    "the tip of the tuned vector": Control("geometry", {}, slider(r"^Tip of b′"), "ArrowUp"),
    "the step of a fine-tune": Control("geometry", {"geo": "Through training"}, slider("Step of the"), "ArrowLeft"),
    "the merge in the plane": Control("merge", {}, slider("^The merge"), "ArrowUp"),
    "the dial": Control(
        "dial", {}, lambda page: page.locator(".st-key-dial_lambda").get_by_role("slider"), "ArrowLeft", "aria-valuenow"
    ),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_of_ours_is_reached_shows_it_moves_and_stays_in_place(visit: Visit, name: str) -> None:
    control = CONTROLS[name]
    page = visit.open(control.page, **control.query)
    one = control.find(page)
    see(one)
    visit.settle()
    unreached, before = one.evaluate(LOOK), one.get_attribute(control.attribute)
    one.focus()
    page.keyboard.press("Shift+Tab")
    expect(one).not_to_be_focused()
    page.keyboard.press("Tab")
    expect(one).to_be_focused()
    assert one.evaluate(LOOK) != unreached  # it shows that it has the focus
    place = page.locator("h1").bounding_box()
    page.keyboard.press(control.key)
    expect(control.find(page)).not_to_have_attribute(control.attribute, before or "")
    visit.settle()
    assert page.locator("h1").bounding_box() == place
    assert not visit.complaints, visit.complaints


def test_a_cell_of_the_heatmaps_is_chosen_by_the_lists_that_stand_for_it(visit: Visit) -> None:
    page = visit.open("importance", apart="true")
    cell = page.get_by_role("combobox", name="Layer")
    visit.settle()
    cell.scroll_into_view_if_needed()
    cell.focus()
    option = page.get_by_role("option", name="3", exact=True)
    for _ in range(5):  # a list closes when the page scrolls, as it does for a moment to what has the focus
        page.keyboard.type("3")
        with suppress(TimeoutError):
            see(option, timeout=5_000)
            break
        page.keyboard.press("Backspace")
    place = below_the_title(page, cell)
    page.keyboard.press("Enter")
    visit.link("layer=3")
    assert below_the_title(page, cell) == place
    assert not visit.complaints, visit.complaints


def below_the_title(page: Page, one: Locator) -> float:
    """How far below the title something stands, in pixels: however far the page was scrolled."""
    title, box = page.locator("h1").bounding_box(), one.bounding_box()
    assert title is not None and box is not None
    return box["y"] - title["y"]
