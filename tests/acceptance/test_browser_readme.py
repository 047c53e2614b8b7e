"""The README's pictures, taken from the real samples: ``BEFT_README_PICTURES=dashboard/screenshots`` makes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from browser_tools import ROOT, Visit, see
from playwright.sync_api import Page

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("bundled_samples")]

LARGEST = 200_000
"""Bytes of a picture: a README is opened on slow lines too."""


def _importance(page: Page) -> None:
    see(page.get_by_role("heading", name="Projection ratio"))
    see(page.locator(".js-plotly-plot .main-svg").nth(4))


def _geometry(page: Page) -> None:
    see(page.get_by_text("(c) ● Projection ratio"))


PICTURES: dict[str, tuple[dict[str, str], Callable[[Page], None], str]] = {
    "importance": ({}, _importance, "Which bias matters?"),
    "geometry": ({}, _geometry, "By hand"),
}
"""Page -> its link, what must stand there before the picture is taken, and the words that it begins with."""


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_of_the_readme(name: str, visit: Visit, tmp_path: Path) -> None:
    query, ready, top = PICTURES[name]
    ready(visit.open(name, **query))
    visit.settle()
    folder = Path(os.environ.get("BEFT_README_PICTURES") or tmp_path)
    picture = folder / f"{name}.png"
    visit.page.get_by_text(top).first.evaluate("words => words.scrollIntoView({block: 'start'})")
    visit.page.screenshot(path=picture)
    assert picture.stat().st_size < LARGEST
    visit.check(f"readme-{name}", figure=False)
    shown = (ROOT / "README.md").read_text()
    assert f"dashboard/screenshots/{name}.png" in shown
    assert (ROOT / "dashboard" / "screenshots" / f"{name}.png").stat().st_size < LARGEST
