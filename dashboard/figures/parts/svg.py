"""Scripts of the pictures that the browser draws, joined: components have no modules of their own.

Each defines a function ``mount({parentElement, data, setStateValue})``, as components of Streamlit have it.
"""

from __future__ import annotations

import json
from pathlib import Path

SVG_JS = Path(__file__).with_suffix(".js")
"""Script with the elements of SVG, which others use."""


def scripts(*paths: Path) -> str:
    """Join the scripts of a component, in the order in which they need each other, into a module for Streamlit."""
    return f"{_joined(paths)}\nexport default mount;\n"


def classic_script(name: str, *paths: Path) -> str:
    """Join the same scripts into one without modules, which pages opened from a disk may load: ``mounts[name]``."""
    return f"(window.mounts ??= {{}})[{json.dumps(name)}] = (() => {{\n{_joined(paths)}\nreturn mount;\n}})();\n"


def _joined(paths: tuple[Path, ...]) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)
