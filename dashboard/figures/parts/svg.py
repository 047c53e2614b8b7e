"""Scripts of the pictures that the browser draws, joined: components have no modules of their own."""

from __future__ import annotations

from pathlib import Path

SVG_JS = Path(__file__).with_suffix(".js")
"""Script with the elements of SVG, which others use."""


def scripts(*paths: Path) -> str:
    """Join the scripts of a component, in the order in which they need each other."""
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)
