"""Why b_v and not b_k, in a real browser: three proofs by a real model, a link, dark and in a room, the trap."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import pytest
from browser_tools import Visit
from playwright.sync_api import Page, expect

import dashboard

pytestmark = pytest.mark.timeout(600)
REAL = Path(str(dashboard.__file__)).parents[1] / "sample_snapshots"


def ready(page: Page, figures: int) -> None:
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
    expect(page.locator(".js-plotly-plot")).to_have_count(figures)


def test_three_proofs(visit: Visit) -> None:
    page = visit.open("why")
    expect(page.get_by_role("button", name="Show what happens")).to_be_visible()
    visit.check("why-asked", figure=False)
    page.get_by_role("radiogroup", name="The attention").get_by_text("stays").click()
    page.get_by_role("button", name="Show what happens").click()
    ready(page, 2)
    expect(page.get_by_text("The attention of layer 2 stays.")).to_be_visible()
    expect(page.get_by_text("as you predicted")).to_be_visible()
    expect(page.get_by_text("no change")).to_be_visible()
    visit.check("why-k")
    visit.choose_tab("Push b_q")
    page.get_by_role("button", name="Show what happens").click()
    ready(page, 2)
    expect(page.get_by_text("The attention of layer 2 moves.")).to_be_visible()
    visit.check("why-q")
    visit.choose_tab("Push b_v")
    page.get_by_role("button", name="Show what happens").click()
    ready(page, 3)
    expect(page.get_by_text("exactly 0").first).to_be_visible()
    visit.check("why-v")
    began = time.monotonic()
    page.get_by_label("Your sentence").fill("Another sentence, please.")
    page.get_by_label("Your sentence").press("Enter")
    expect(page.get_by_text("another").first).to_be_visible()
    assert time.monotonic() - began < 20
    if sys.platform == "linux":  # the page showed what torch worked out without loading it
        assert "libtorch" not in Path(f"/proc/{visit.lab.process.pid}/maps").read_text()


def test_dark_and_in_a_room(dark_visit: Visit) -> None:
    page = dark_visit.open(
        "why", why_tab="2 · Push b_q", why_seen="b_q", why_layer="4", why_head="head 3", present="true"
    )
    ready(page, 2)
    expect(page.get_by_text("The attention of layer 4 moves.")).to_be_visible()
    expect(page.get_by_label("Your sentence")).to_be_hidden()  # a presenter hides the choice at first
    dark_visit.check("why-dark")


def test_the_trap_on_the_real_samples(visit: Visit) -> None:
    shelf = visit.lab.samples
    for file in [REAL / "index.json", *REAL.glob("demo-sentiment-*")]:
        shutil.copy(file, shelf)
    page = visit.open("why", why_tab="4 · The trap")
    page.get_by_role("button", name="Show what happens").click()
    ready(page, 1)
    expect(page.get_by_text("In bfloat16 the naive ranking selects")).to_be_visible()
    expect(page.get_by_text("⚠ noise").first).to_be_visible()
    expect(page.get_by_role("button", name="Train b_k in bfloat16")).to_be_enabled()
    visit.check("why-trap")
