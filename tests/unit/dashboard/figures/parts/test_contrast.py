"""Text can be read: WCAG 2.2 asks for 4.5 to 1 (success criterion 1.4.3), in the theme and in every figure."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import dashboard
from beft_core.terms import TERM_KEYS
from dashboard.figures.parts import style
from dashboard.figures.parts.contrast import TEXT, blend, contrast, luminance
from dashboard.shared.page import STYLE

THEME = tomllib.loads((Path(dashboard.__file__).parent / ".streamlit" / "config.toml").read_text())["theme"]
FADED = 0.6
"""Streamlit draws captions, help and headings of tables in 60 % of the colour of the text (``fadedText60``)."""
HUES = ("red", "orange", "yellow", "green", "blue", "violet", "gray")


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(THEME[request.param])


def test_the_ratio_is_that_of_the_recommendation() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)  # the grey that just fails
    assert contrast("#ffffff", "#777777") == contrast("#777777", "#ffffff")
    assert contrast("#595959", "#ffffff") == pytest.approx(7.005, abs=1e-3)  # just passes 7 to 1
    assert luminance("#ff0000") == pytest.approx(0.2126)


def test_text_and_captions(theme: dict[str, Any]) -> None:
    for ground in (theme["backgroundColor"], theme["secondaryBackgroundColor"]):
        assert contrast(theme["textColor"], ground) > 7
        assert contrast(blend(theme["textColor"], ground, FADED), ground) >= TEXT


def test_coloured_text_and_boxes(theme: dict[str, Any]) -> None:
    for hue in HUES:
        text = theme[f"{hue}TextColor"]
        for ground in ("backgroundColor", "secondaryBackgroundColor", f"{hue}BackgroundColor"):
            assert contrast(text, theme[ground]) >= TEXT, (hue, ground)


def test_links_and_chosen_tabs(theme: dict[str, Any]) -> None:
    assert contrast(theme["primaryColor"], theme["backgroundColor"]) >= TEXT


@pytest.mark.parametrize("at", [0, 1], ids=["light", "dark"])
def test_text_on_buttons_and_chips(at: int) -> None:
    """Streamlit writes white on the accent colour, whatever that is; the style of the page sets both."""
    theme = THEME[("light", "dark")[at]]
    both = re.compile(r"\n  (background-color|color): light-dark\((#\w{6}), (#\w{6})\)")
    rules = [(name, pair[at]) for name, *pair in both.findall(STYLE.read_text().split("Streamlit fades a caption")[0])]
    fills = [colour for name, colour in rules if name == "background-color"]
    (text,) = (colour for name, colour in rules if name == "color")
    assert len(fills) == 2 and fills[0] == theme["primaryColor"]  # at rest and under the pointer
    for fill in fills:
        assert contrast(text, fill) >= TEXT
    assert contrast(fills[0], theme["backgroundColor"]) >= 3  # a button stands out (success criterion 1.4.11)


def test_words_of_commands_have_a_colour_of_the_theme_that_no_term_has() -> None:
    """Streamlit's own colours of them have 2.6 to 3.7 on white; the style of the page sets these instead."""
    (both,) = re.findall(r"\.token {\n  color: light-dark\((#\w{6}), (#\w{6})\)", STYLE.read_text())
    assert both == (THEME["light"]["violetTextColor"], THEME["dark"]["violetTextColor"])


def test_figures_share_the_colours_of_the_theme() -> None:
    for dark, name in ((False, "light"), (True, "dark")):
        theme = THEME[name]
        assert (style.ink(dark), style.ground(dark)) == (theme["textColor"], theme["backgroundColor"])
        assert style.neutral(dark) == theme["primaryColor"] == theme["linkColor"]
        for term, hue in style.THEME_HUES.items():
            assert theme[f"{hue}TextColor"] == style.term_ink(term, dark)


@pytest.mark.parametrize("dark", [False, True])
def test_names_of_terms(dark: bool) -> None:
    """The yellow of b_LN2 on white has 1.5 to 1: its name is written in a darker yellow."""
    for term in TERM_KEYS:
        grounds = (style.ground(dark), THEME["dark" if dark else "light"]["secondaryBackgroundColor"])
        assert all(contrast(style.term_ink(term, dark), ground) >= TEXT for ground in grounds), term
        colour = style.TERM_COLOURS[term]
        if all(contrast(colour, ground) >= TEXT for ground in grounds):
            assert style.term_ink(term, dark) == colour.lower()  # changed only where it must be
        assert contrast(style.on_colour(colour), colour) >= TEXT, term
