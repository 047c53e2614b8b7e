"""Names out of files in a figure: Plotly reads tags, among them links, wherever it writes text."""

from __future__ import annotations

import html


def in_figures(name: object, limit: int | None = None) -> str:
    """Escape a name for the text of a figure, so that no tag comes out of it; cut it after `limit` characters."""
    text = str(name)
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    return html.escape(text, quote=False)


def in_templates(name: object, limit: int | None = None) -> str:
    """Escape a name for a hover template, where `%{...}` would name a value besides."""
    return in_figures(name, limit).replace("%", "&#37;")
