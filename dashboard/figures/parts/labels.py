"""Names in figures: those out of files, where Plotly would read tags, and tasks as the paper writes them."""

from __future__ import annotations

import html
import re

from beft_core.reports.paper import task_labels

PROMPTED = "prompt-"
"""Beginning of the key of a task that is asked by prompts; what follows is the key of the task."""
_WORD = re.compile(r"[\w-]+")


def as_written(text: object) -> str:
    """Write every task of the paper that a text names by its key as the paper does, ``SST-2`` for ``sst2`` and
    ``prompted SST-2`` for ``prompt-sst2``.
    """
    known = task_labels()
    known |= {f"{PROMPTED}{task}": f"prompted {label}" for task, label in known.items()}
    return _WORD.sub(lambda word: known.get(word[0], word[0]), str(text))


def in_figures(name: object, limit: int | None = None) -> str:
    """Escape a name for the text of a figure, so that no tag comes out of it; cut it after `limit` characters."""
    text = str(name)
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    return html.escape(text, quote=False)


def in_templates(name: object, limit: int | None = None) -> str:
    """Escape a name for a hover template, where `%{...}` would name a value besides."""
    return in_figures(name, limit).replace("%", "&#37;")
