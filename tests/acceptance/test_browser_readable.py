"""What stands on a page can be read, in a real browser on the bundled samples: it stands out, is not cut, and has names
and roles for those who do not see it.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from browser_tools import WIDTHS, Visit, see
from playwright.sync_api import Page, TimeoutError, expect

from dashboard.figures.parts.contrast import TEXT, contrast, rgb
from dashboard.figures.parts.style import ink as ink_of
from dashboard.shared.page import PLACES

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("bundled_samples")]

THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


WRITTEN = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true}), read = {};
  const rgba = colour => read[colour] ??= (() => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map(c => c / 255);
  })();
  const over = ([r, g, b, a], [R, G, B, A]) => {
    const seen = a + A * (1 - a), mix = (c, C) => seen && (c * a + C * A * (1 - a)) / seen;
    return [mix(r, R), mix(g, G), mix(b, B), seen];
  };
  const through = ([r, g, b, a], opacity) => [r, g, b, a * opacity];
  const written = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; node = walker.nextNode();) {
    const one = node.parentElement, words = node.data.trim();
    if (!words || !one.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    if (one.closest("style, script, svg, :disabled, [aria-disabled=true], [data-testid=stSliderThumbValue]")) continue;
    let text = rgba(getComputedStyle(one).color), ground = [0, 0, 0, 0], shown = text[3];
    for (let at = one; at; at = at.parentElement) {
      const style = getComputedStyle(at), fill = rgba(style.backgroundColor);
      shown *= style.opacity;
      text = through(over(text, fill), style.opacity);
      ground = through(over(ground, fill), style.opacity);
    }
    written.push({words, text: text.slice(0, 3), ground: ground.slice(0, 3), shown,
                  coloured: !!one.closest(".stMarkdownColoredText, .token"),
                  caption: !!one.closest("[data-testid=stCaptionContainer]")});
  }
  return written;
}"""
"""Every text of the page outside figures (their own tests compute those) and disabled controls (which WCAG excepts),
its colour and that of its ground as they are seen, through every opacity above them, and how much of it is left."""


def written(page: Page) -> list[dict[str, Any]]:
    """Texts of the page with their contrast."""
    texts = page.evaluate(WRITTEN)
    return [{**one, "contrast": contrast(tuple(one["text"]), tuple(one["ground"]))} for one in texts]


AXE = """() => axe.run({exclude: ["[data-testid=stSidebarNav]"]}, {
  runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], resultTypes: ["violations"]
}).then(found => found.violations.flatMap(
  one => one.nodes.map(node => `${one.id}: ${node.target} ${node.failureSummary}`)))"""
"""Violations of the WCAG's levels A and AA that axe-core finds. Streamlit's own navigation is left out: its list holds
the names of sections between the items, which a list may not.
"""


LOOKS: dict[str, tuple[str, dict[str, str]]] = {
    **{name: ("" if name == "start" else name, {}) for name in PLACES},  # the first page has no address of its own
    "compare, where they differ": ("compare", {"section": "Where they differ"}),
}
"""What is looked at -> page and query."""
COLOURED = {"fine_tune": {"--regime"}, "importance": set[str](), "compare, where they differ": {"Green", "Purple"}}
"""Where texts are coloured, and some of them: Fine-tune has a command, Which bias formulas and Compare coloured words
in a caption, which Streamlit fades."""


TALLEST = 1440
"""Pixels of two screens of a laptop: as much as a page shows before one asks for more."""
PHONE, LAPTOP = (420, 800), (1280, 720)
TALL = "document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight"
COVERED = """() => {
    const at = document.querySelector("h1").getBoundingClientRect();
    return !document.querySelector("h1").contains(document.elementFromPoint(at.left + 4, at.top + at.height / 2));
}"""
"""Whether something lies over the title: on a phone the navigation would."""


@pytest.mark.parametrize("look", LOOKS)
def test_nobody_is_shut_out_in_any_window_or_theme_and_all_words_stand_out(visit: Visit, look: str) -> None:
    """On a phone nothing sticks out or lies over a page, a laptop needs two screens at most, axe finds nothing, and all
    words stand out. One load for all: drawing a page, and again in the other theme, takes longer than looking at it.
    """
    name, query = LOOKS[look]
    visit.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    page = visit.open(name, **query)
    visit.settle()
    assert not page.evaluate(COVERED)
    visit.resize(*PHONE)  # nothing sticks out
    visit.resize(*LAPTOP)
    try:
        page.wait_for_function(f"{TALL} <= {TALLEST}", timeout=10_000)
    except TimeoutError:
        pytest.fail(f"{look} is {page.evaluate(TALL)} pixels high")
    page.evaluate(AXE_SCRIPT)
    if look in COLOURED:
        expect(page.get_by_test_id("stCaptionContainer").first).to_have_css("opacity", "1")  # the page's style is there
    if look == "fine_tune":
        see(page.locator(".token").first)  # colours of a command come with a script of their own
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        expect(page.get_by_test_id("stApp")).to_have_css("color-scheme", theme)
        expect(page.get_by_test_id("stApp")).to_have_attribute("data-drawn", theme)  # the server has heard of it
        visit.settle()
        expect(page.locator('[data-stale="true"]')).to_have_count(0)
        if look == "importance":  # figures follow
            ink = ", ".join(str(round(255 * part)) for part in rgb(ink_of(theme == "dark")))
            expect(page.locator(".js-plotly-plot .xtick text").first).to_have_css("fill", f"rgb({ink})")
        violations = page.evaluate(AXE)
        assert not violations, (theme, violations)
        if look in COLOURED:
            all_stand_out(written(page), theme, COLOURED[look])
    if look == "evaluation":  # each of its tabs is as short as that
        for tab in page.get_by_role("tab").all_inner_texts():
            visit.choose_tab(tab)
            visit.settle()
            page.wait_for_function(f"{TALL} <= {TALLEST}")
    if look == "compare":  # before a room, all of it is one screen
        page.get_by_text("Presenter mode").click()
        page.wait_for_function(f"{TALL} <= {LAPTOP[1]}")
    assert not visit.complaints, visit.complaints


def all_stand_out(texts: list[dict[str, Any]], theme: str, some: set[str]) -> None:
    """No text is too faint, coloured ones (these among them) are not faded, and captions are as faint as ever."""
    assert not [one for one in texts if one["contrast"] < TEXT], theme
    coloured = [one for one in texts if one["coloured"]]
    assert some <= {one["words"] for one in coloured}, theme
    assert all(one["shown"] == pytest.approx(1, abs=0.01) for one in coloured), theme
    faded = [one["shown"] for one in texts if one["caption"] and not one["coloured"]]
    assert faded and min(faded) == pytest.approx(0.6, abs=0.01)  # no fainter and no stronger than before


WIDER = """frame => [frame, ...frame.querySelectorAll("*")].filter(
  one => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== "inline" && !one.closest(".katex"))
  .map(one => `${one.tagName} ${one.dataset.testid ?? ""} ${one.scrollWidth} > ${one.clientWidth}: ${one.innerText}`)"""
"""What is wider than its frame: it is cut, or read only by who scrolls sideways."""


def test_the_tables_of_the_explanation_are_read_whole(visit: Visit) -> None:
    page = visit.open("importance")
    explanation = page.locator(".st-key-control-details-snapshot")
    explanation.get_by_text("How was this computed?").click()
    tables = explanation.get_by_test_id("stTable")
    expect(tables).to_have_count(2)
    for table in tables.all():
        see(table)
    checksum = explanation.get_by_role("cell", name=re.compile("^[0-9a-f]{64}$"))
    see(checksum)  # one word, to be copied as one
    expect(checksum.locator("p")).to_have_css("overflow-wrap", "anywhere")  # the page's style is there
    for width in WIDTHS:
        visit.resize(width)
        wider = explanation.evaluate(WIDER)
        assert not wider, wider
        ragged = "table => table.getBoundingClientRect().right > innerWidth"
        assert not any(table.evaluate(ragged) for table in tables.all())
    visit.check("importance-computed")
