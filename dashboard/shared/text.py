"""Text for Markdown: what a stranger wrote, made harmless, and sentences of the engine with formulas."""

from __future__ import annotations

import re

from beft_core.terms import TERMS
from dashboard.figures.parts.style import latex

_SIGNS = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:])")


def plain(text: object, limit: int = 400) -> str:
    """The text as it is, on one line: no formatting, links, images, icons or formulas come out of it."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return _SIGNS.sub(r"\\\1", line if len(line) <= limit else line[: limit - 1] + "…")


def in_words(text: str) -> str:
    """A sentence of the engine in Markdown: signs are kept, b_q and the like are set as formulas."""
    escaped = plain(text, 2000)
    for term, about in TERMS.items():
        escaped = escaped.replace(plain(about.symbol), latex(term))
    return escaped
