"""Text that a stranger wrote, made harmless for Markdown."""

from __future__ import annotations

import re

_SIGNS = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:])")


def plain(text: object, limit: int = 400) -> str:
    """The text as it is, on one line: no formatting, links, images, icons or formulas come out of it."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return _SIGNS.sub(r"\\\1", line if len(line) <= limit else line[: limit - 1] + "…")
