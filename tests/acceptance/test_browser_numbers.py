"""What pictures drawn by the browser write beside their axes and lines is what Python would write there."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Browser

from dashboard.figures.parts.numbers import NUMBERS_JS, apart, short, tick_texts, ticks

SCRIPT = NUMBERS_JS.read_text(encoding="utf-8")
VALUES = [0, 0.69249, -0.0224, 452.7, 99.96, 1.234e-5, -3.1e5, 1.08e-18, 1e5, 0.0001]
AXES = [(0.7488, 0.7504, 4), (0, 114, 5), (-0.3, 0.02, 4), (3e-7, 9e-7, 4), (0, 3e6, 4), (0.5, 0.5, 4), (0, 0.69, 5)]


def test_the_browser_writes_numbers_as_python_does(browser: Browser) -> None:
    page = browser.new_page()
    page.add_script_tag(content=SCRIPT)
    assert page.evaluate("values => values.map(value => short(value))", VALUES) == [short(v) for v in VALUES]
    for low, high, most in AXES:
        here = page.evaluate("([low, high, most]) => ticks(low, high, most)", [low, high, most])
        assert here == pytest.approx(ticks(low, high, most))
        assert page.evaluate("values => tickTexts(values)", here) == tick_texts(ticks(low, high, most))
    places = [float(place) for place in np.random.default_rng(0).uniform(0, 60, 8)]
    for bounds in ([], [0, 170], [0, 100]):
        here = page.evaluate("([places, bounds]) => apart(places, 14, ...bounds)", [places, bounds])
        expected = apart(dict(enumerate(places)), 14, *bounds)
        assert here == pytest.approx([expected[at] for at in range(len(places))])
    page.close()
