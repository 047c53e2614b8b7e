"""Text for Markdown: what a stranger wrote, made harmless, and sentences of the engine with formulas."""

from __future__ import annotations

import re

from beft_core.terms import TERMS
from dashboard.figures.parts.style import latex

NO_COLUMN = "–"
"""Choice, in forms of tables, of no column."""
A_HEAD, A_PROMPT = "a trained head", "a prompt"
"""Choices, in forms of tables, of who answers."""
_SIGNS = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:])")


def plain(text: object, limit: int = 400) -> str:
    """Escape a text for Markdown, on one line: no formatting, links, images, icons or formulas come out of it."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return _SIGNS.sub(r"\\\1", line if len(line) <= limit else line[: limit - 1] + "…")


def exact(value: float) -> str:
    """Write a number so that it is read back as the same: 0.001, 1e-05, and all digits where six would be another."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def bytes_in_words(count: float) -> str:
    """Write a number of bytes: 3 kB, 1.2 MB, 800 MB, 7.5 GB."""
    for size, sign in ((1e9, "GB"), (1e6, "MB")):
        if count >= size:
            return f"{count / size:.{1 if count < 10 * size or sign == 'GB' else 0}f} {sign}"
    return f"{max(1, round(count / 1e3))} kB"


def in_words(text: str) -> str:
    """Set a sentence of the engine in Markdown: signs are kept, b_q and the like become formulas."""
    escaped = plain(text, 2000)
    for term, about in TERMS.items():
        escaped = escaped.replace(plain(about.symbol), latex(term))
    return escaped
