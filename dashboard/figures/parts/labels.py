"""Names out of files in a figure: Plotly reads tags, among them links, wherever it writes text."""

from __future__ import annotations

import html


def in_figures(name: object) -> str:
    """The name as it is, as text of a figure: no tag comes out of it."""
    return html.escape(str(name), quote=False)
