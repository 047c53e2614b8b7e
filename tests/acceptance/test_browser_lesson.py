"""A lesson opened from the disk, in a real browser without a network: every page answers to hand and keyboard."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from browser_tools import HEIGHT, PATIENCE, ROOT, see
from few_samples import write_few_samples
from playwright.sync_api import Browser, BrowserContext, Page, expect

pytestmark = pytest.mark.timeout(300)

WIDTHS = (1280, 900, 420)
AXE = """() => axe.run({
  runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], resultTypes: ["violations"], preload: false
}).then(found => found.violations.flatMap(
  one => one.nodes.map(node => `${one.id}: ${node.target} ${node.failureSummary}`)))"""
"""Violations that axe-core finds. It must not fetch the style sheets once more, which the policy forbids."""

FITS = """async () => {
  while (document.documentElement.scrollWidth > innerWidth) await new Promise(requestAnimationFrame);
}"""
"""Waits until nothing sticks out. (The page's policy forbids what Playwright itself waits with.)"""


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lesson on a few samples, written by the command."""
    folder = tmp_path_factory.mktemp("lesson")
    environment = {
        **os.environ,
        "BEFT_SAMPLES_DIR": str(write_few_samples(folder / "samples")),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "beft_core", "lesson", "--out", "talk"]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return folder / "talk"


@pytest.fixture(scope="module")
def offline(browser: Browser) -> Iterator[BrowserContext]:
    """A browser without a network, whose reader wants less motion."""
    context = browser.new_context(
        offline=True, reduced_motion="reduce", viewport={"width": WIDTHS[0], "height": HEIGHT}
    )
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


@pytest.fixture
def page(offline: BrowserContext, lesson: Path) -> Iterator[Page]:
    """A window on its first page; it fails where a page complains or asks for anything that is not a file."""
    window, complaints = offline.new_page(), []
    window.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    window.on("pageerror", lambda error: complaints.append(str(error)))
    window.on(
        "request", lambda asked: None if asked.url.startswith(("file:", "data:")) else complaints.append(asked.url)
    )
    window.goto(f"{lesson.as_uri()}/index.html")
    yield window
    window.close()
    assert not complaints, complaints


def follow(page: Page, title: str) -> None:
    """Go to a page by its link, as a lecturer does."""
    page.get_by_role("navigation").get_by_role("link", name=title).click()
    see(page.get_by_role("heading", level=1, name=title))


def test_a_guess_is_answered_in_its_place(page: Page) -> None:
    expect(page.get_by_role("main").get_by_role("link")).to_have_count(5)
    follow(page, "Which bias would you fine-tune?")
    expect(page.locator(".flow svg .ask")).to_have_count(5)
    page.get_by_role("button", name="4 adds up").click()
    expect(page.locator(".flow p")).to_contain_text("The sum joins the residual stream")
    assert not page.locator(".beft-bar").first.is_visible()
    page.get_by_role("button", name="value bias").press("Enter")
    see(page.get_by_role("img", name="value bias, b_v: 61.1 (your guess)"))
    see(page.get_by_text("Right: the value bias"))
    expect(page.get_by_role("button", name="And now SST-2")).to_be_focused()
    page.keyboard.press("Enter")
    see(page.get_by_role("img", name="value bias, b_v: 77.9 (your guess)"))
    expect(page.get_by_role("button", name="Back to STS-B")).to_be_focused()


def test_one_snapshot_of_several_is_shown(page: Page) -> None:
    follow(page, "Which bias matters?")
    chart = page.get_by_role("img", name="Projection ratio of every bias term in every layer")
    see(chart.locator(".main-svg").first)
    page.get_by_label("Snapshot").select_option("STS-B, low, all-bias probe")
    expect(chart).to_have_count(1)  # of those that are shown
    see(chart.locator(".main-svg").first)
    expect(page.locator(".answered").filter(visible=True)).to_contain_text("61.1")
    assert page.url.endswith("#part-2")


def test_three_pictures_share_one_vector(page: Page) -> None:
    follow(page, "Geometry")
    ratio, magnitude = (page.locator(f"output[data-number={name}]") for name in ("projection_ratio", "magnitude"))
    expect(ratio).to_have_text("0.506")
    page.get_by_role("slider", name="Tip of b′, the bias after the fine-tune in (a)").press("ArrowLeft")
    expect(ratio).not_to_have_text("0.506")
    before = magnitude.inner_text()
    grip = page.get_by_role("slider", name="Tip of b′, the bias after the fine-tune in (c)").bounding_box()
    assert grip is not None
    page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
    page.mouse.down()
    page.mouse.move(grip["x"] - 30, grip["y"] + 60)
    page.mouse.up()
    expect(magnitude).not_to_have_text(before)
    page.get_by_role("button", name="Reversed").click()
    expect(ratio).to_have_text("2.000")
    see(page.get_by_text("The lab marks such layers with"))
    page.get_by_label("All in one picture").check()
    expect(page.locator(".sandbox .picture")).to_have_count(1)


def test_the_dial_turns(page: Page) -> None:
    follow(page, "The dial")
    number, place = page.locator("[data-number]"), page.locator(".scatterlayer .textpoint")
    expect(number).to_have_text("61.1")
    expect(place).to_have_text("61.1")
    page.get_by_label("λ", exact=True).press("ArrowRight")
    expect(number).not_to_have_text("61.1")
    expect(place).to_have_text(number.inner_text())
    see(page.get_by_text("not measured: on the line between λ = 1 and 1.5"))
    page.get_by_label("What to turn").select_option("Layer 2")
    see(page.get_by_role("img", name="Layer 2"))
    page.get_by_label("Layer index").check()
    expect(page.get_by_role("img", name="Cost of each layer")).to_have_count(1)


def test_a_merge_is_moved_by_hand(page: Page) -> None:
    follow(page, "The plane of the two changes")
    outputs = page.locator(".plane output")
    expect(outputs).to_have_count(2)
    before = outputs.first.inner_text()
    page.get_by_role("slider", name="The merge, SST-2").press("Shift+ArrowRight")
    expect(outputs.first).not_to_have_text(before)
    share = page.get_by_label("share of SST-2's change")
    expect(share).to_have_value("0.6")
    share.press("ArrowLeft")
    see(page.get_by_text("base + 0.59 · change of SST-2"))


def test_every_page_fits_and_shuts_nobody_out(page: Page, lesson: Path) -> None:
    for path in sorted(lesson.glob("*.html")):
        page.goto(path.as_uri())
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": HEIGHT})
            page.evaluate(FITS)
        page.evaluate(AXE_SCRIPT)
        for theme, ground in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(17, 21, 29)")):
            page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            expect(page.locator("body")).to_have_css("background-color", ground)
            violations = page.evaluate(AXE)
            assert not violations, (path.name, theme, violations)
