"""The theme's style sheet: every colour that the pictures and the pages ask for is there, in both themes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from dashboard.lesson import site
from dashboard.lesson.components import COMPONENTS
from dashboard.lesson.theme import CONFIG, css


def test_no_style_asks_for_a_variable_that_is_not_there() -> None:
    sheets = [component.style for component in COMPONENTS.values()] + [
        Path(site.__file__).parent / "templates" / "lesson.css"
    ]
    asked = {name for sheet in sheets for name in re.findall(r"var\((--st-[\w-]+)", sheet.read_text())}
    assert len(asked) > 10
    assert asked <= set(re.findall(r"^  (--st-[\w-]+):", css(), re.MULTILINE))


def test_colours_are_those_of_the_dashboard() -> None:
    theme = tomllib.loads(CONFIG.read_text())["theme"]
    light, _, dark = css().partition("prefers-color-scheme: dark")
    assert f"--st-text-color: {theme['light']['textColor']};" in light
    assert f"--st-text-color: {theme['dark']['textColor']};" in dark
