"""Pages of documentation behind the README: one Markdown file per topic, shipped with the package and read by ``beft
docs``.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from beft_core.errors import UserError

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Topic:
    """Page of the documentation."""

    name: str
    """Name that ``beft docs`` takes; the stem of the page's file."""
    title: str
    """Heading of the page."""
    summary: str
    """First sentence of the page."""
    text: str
    """Whole text of the page, as Markdown."""


def topics() -> list[Topic]:
    """List all pages, by name."""
    return [_read(path) for path in sorted(FOLDER.glob("*.md"))]


def topic(name: str) -> Topic:
    """Give one page. Raises UserError for a name that no page has."""
    pages = {page.name: page for page in topics()}
    if name not in pages:  # never a path from what was typed
        close = difflib.get_close_matches(name, pages, n=1)
        raise UserError(f"got the topic {name}", f"one of {', '.join(pages)}", close[0] if close else "beft docs")
    return pages[name]


def _read(path: Path) -> Topic:
    text = path.read_text(encoding="utf-8")
    heading, _, rest = text.partition("\n")
    summary, _, _ = " ".join(rest.strip().split("\n\n")[0].split()).partition(". ")
    return Topic(path.stem, heading.removeprefix("# "), summary.removesuffix(".") + ".", text)
