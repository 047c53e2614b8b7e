"""Colours of the dashboard's theme as a style sheet, light and dark: one file has them for both."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import dashboard
from dashboard.figures.parts import style

CONFIG = Path(str(dashboard.__file__)).parent / ".streamlit" / "config.toml"
_DERIVED: dict[str, str] = {
    "red-color": "var(--st-red-text-color)",
    "violet-color": "var(--st-violet-text-color)",
    "border-color-light": "var(--st-border-color)",
    "widget-border-color": "var(--st-border-color)",
    "base-radius": "0.25rem",
    "button-radius": "0.25rem",
    "font": f"{style.FONT}",
}
"""Variables that Streamlit derives from a theme, and its components read."""


def css() -> str:
    """Write the variables of both themes; print is light."""
    theme = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["theme"]
    light, dark = (_variables(theme[name]) for name in ("light", "dark"))
    derived = "".join(f"  --st-{name}: {value};\n" for name, value in _DERIVED.items())
    return (
        f":root {{\n  color-scheme: light dark;\n{light}{derived}}}\n"
        f"@media screen and (prefers-color-scheme: dark) {{\n:root {{\n{dark}}}\n}}\n"
    )


def _variables(colours: Mapping[str, str]) -> str:
    return "".join(f"  --st-{_dashed(name)}: {colour};\n" for name, colour in colours.items())


def _dashed(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: f"-{letter[0].lower()}", name)
