"""Why b_v and not b_k, in a real browser: three pushes by a real model, dark and in a room, the trap."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path

import pytest
from browser_tools import Visit, see
from playwright.sync_api import Page, expect

import dashboard

pytestmark = pytest.mark.timeout(600)
REAL = Path(str(dashboard.__file__)).parents[1] / "sample_snapshots"

HIDDEN = "(m => m.scrollHeight - m.clientHeight)(document.querySelector('[data-testid=stMain]'))"
"""Pixels of the page that one screen does not show."""


def ready(page: Page, figures: int) -> None:
    see(page.locator(".js-plotly-plot .main-svg").first)
    expect(page.locator(".js-plotly-plot")).to_have_count(figures)


def test_three_pushes(visit: Visit) -> None:
    page = visit.open("why")
    page.set_viewport_size({"width": 1280, "height": 720})
    ready(page, 3)
    for term, attention, output in (
        ("key", "stays", "stays"),
        ("query", "moves", "moves"),
        ("value", "stays", "moves"),
    ):
        column = page.get_by_test_id("stMarkdown").filter(has_text=f"Push the {term} bias")
        expect(column).to_contain_text(f"Attention {attention}, output {output}.")
    visit.settle()
    assert page.evaluate(HIDDEN) <= 0  # one screen
    visit.check("why")
    page.get_by_text("Details: why it must be so").click()
    ready(page, 5)
    see(page.get_by_text("no change"))
    page.get_by_role("radio", name="value bias").click()
    ready(page, 6)
    see(page.get_by_text("exactly 0").first)
    visit.link("why_more=true", "why_term=value")
    visit.check("why-details")
    began = time.monotonic()
    page.get_by_label("Your sentence").fill("Another sentence, please.")
    page.get_by_label("Your sentence").press("Enter")
    see(page.get_by_text("another").first)
    assert time.monotonic() - began < 20
    page.wait_for_url(re.compile("tour=proof"))
    if sys.platform == "linux":  # the page showed what torch worked out without loading it
        assert "libtorch" not in Path(f"/proc/{visit.lab.process.pid}/maps").read_text()


def test_dark_and_in_a_room(dark_visit: Visit) -> None:
    page = dark_visit.open("why", why_layer="4", why_head="head 3", present="true")
    ready(page, 3)
    see(page.get_by_text("Attention moves, output moves."))
    expect(page.get_by_label("Your sentence")).to_be_hidden()  # a presenter hides the choice at first
    page.set_viewport_size({"width": 1280, "height": 720})
    dark_visit.settle()
    page.wait_for_function(f"{HIDDEN} <= 0")  # one screen
    dark_visit.check("why-dark")


def test_the_trap_on_the_real_samples(visit: Visit) -> None:
    shelf = visit.lab.samples
    for file in [REAL / "index.json", *REAL.glob("demo-sentiment-*")]:
        shutil.copy(file, shelf)
    page = visit.open("why", why_tab="The trap")
    page.get_by_role("button", name="Show what happens").click()
    ready(page, 1)
    see(page.get_by_text("In bfloat16 the naive ranking selects"))
    see(page.get_by_text("⚠ noise").first)
    expect(page.get_by_role("button", name="Train b_k in bfloat16")).to_be_enabled()
    visit.resize(420, 800)  # a table of six columns does not stick out of a phone
    visit.check("why-trap")
