"""Try it, in a real browser: a typed sentence is answered by a real model, and an example of the task is opened."""

from __future__ import annotations

import re

import pytest
from browser_tools import Visit, see
from playwright.sync_api import expect

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("bundled_samples")]
DEMOS = ["demo-sentiment, low, b_v only", "demo-sentiment, low, all-bias probe"]


def test_a_typed_sentence_is_answered(visit: Visit) -> None:
    page = visit.open("try_it")
    verdict = page.locator("h4").first
    expect(verdict).to_contain_text("turned 'positive' 0.74 into 'negative' 0.86; layers 1 and 2 made most of it")
    expect(page.locator(".js-plotly-plot")).to_have_count(2)
    visit.check("try-it")
    field = page.get_by_label("Sentences, one a line")
    field.fill("a joy to watch\nutterly dull")
    field.press("Control+Enter")
    expect(verdict).to_contain_text("'positive'")
    see(page.get_by_text("Sentence that is taken apart"))
    visit.link("try_text=", "joy")


def test_an_example_that_was_fixed_opens_among_the_sentences(visit: Visit) -> None:
    page = visit.open("try_it", **{"try": DEMOS, "try_tab": "Examples of the task"})
    expect(page.locator("h4").first).to_contain_text(re.compile(r"is right where all biases is wrong \d+ times?"))
    visit.check("try-it-examples", figure=False)
    page.get_by_role("radiogroup", name="Examples").get_by_text("broken").click()
    table = page.get_by_test_id("stDataFrame").first
    see(table)
    table.click(position={"x": 14, "y": 52})  # the tick of the first row
    page.get_by_role("button", name="Open it among your sentences").click()
    expect(page.get_by_label("Sentences, one a line")).not_to_have_value("")
    expect(page.locator("h4").first).to_contain_text(re.compile("b_v|bv|biases"))
    see(page.get_by_role("heading", name="Which layer made it"))
