"""Markdown in which every text that comes from a snapshot, and may be a stranger's, is shown and never interpreted.

Templates are Jinja's, with :func:`escaped` over each value that they insert; only :class:`Plain` comes in as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

MAX_CHARACTERS = 300
"""Most characters of one value: a setting of thousands would hide the others."""

_MARKS = re.compile(r"[\\`*_{}\[\]<>#!|~&@$^]|:(?=//)|(?<=www)\.", re.IGNORECASE)
"""Characters that mean something to CommonMark, to GitHub's tables and links, or to HTML, anywhere in a line. Those
that do only at its beginning need none, because no line of a template begins with a value.
"""


class Plain(str):
    """Text that is Markdown already: made here, of numbers and of what was checked."""


def escaped(value: Any) -> str:
    """Write a value so that Markdown shows its characters: no link, no HTML, no table cell, no heading, on one line."""
    if isinstance(value, Plain):
        return value
    flat = " ".join("".join(char if char.isprintable() else " " for char in str(value)).split())
    cut = flat if len(flat) <= MAX_CHARACTERS else f"{flat[: MAX_CHARACTERS - 1]}…"
    return _MARKS.sub(lambda found: f"\\{found.group()}", cut)


def code(value: str) -> Plain:
    """Write a text as code in a line, not in a table; backticks become apostrophes, since code has no escapes."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in value).split())
    return Plain(f"`{flat.replace('`', chr(39))[:MAX_CHARACTERS]}`")


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], words: int = 1) -> Plain:
    """Write a table of GitHub's Markdown; the first ``words`` columns stand to the left, numbers to the right."""
    lines = [head, [Plain("---") if at < words else Plain("---:") for at in range(len(head))], *rows]
    return Plain("\n".join(f"| {' | '.join(map(escaped, line))} |" for line in lines))


ENVIRONMENT = Environment(
    loader=PackageLoader("beft_core.publishing"),
    finalize=escaped,
    autoescape=False,  # that is for HTML; escaped() is the same for Markdown
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
ENVIRONMENT.filters |= {"code": code}
ENVIRONMENT.globals |= {"table": table}
