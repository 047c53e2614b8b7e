"""Names on pages and in figures: those out of files, where Plotly would read tags, tasks as the paper writes them, and
methods.
"""

from __future__ import annotations

import html
import re

from beft_core.methods import METHODS, MethodRow
from beft_core.reports.paper import task_labels
from beft_core.terms import TERMS

PROMPTED = "prompt-"
"""Beginning of the key of a task that is asked by prompts; what follows is the key of the task."""
_WORD = re.compile(r"[\w-]+")

_METHODS: dict[str, str] = {
    "terms": "bias terms of your choice",
    "all": "all biases (BitFit)",
    "full": "every weight (full fine-tuning)",
    "none": "nothing (zero-shot)",
    "prefix": "prefix tuning",
    "ln-tuning": "LayerNorms (LN-tuning)",
    "random": "random weights, as many as a bias term",
}
"""Names of methods in a list of choices, where their short name says too little."""


def _place(row: MethodRow) -> int:
    """Place of a method in the list: biases first, then adapters, then what changes single weights or all of them."""
    return 1 if row.adapter is not None else 0 if row.trains and not row.beyond_biases else 2


METHOD_ORDER: tuple[str, ...] = tuple(sorted(METHODS, key=lambda name: _place(METHODS[name])))
"""Keys of all methods in the order of a list of choices."""


def method_name(method: str) -> str:
    """Name a method in a list of choices; anything else, such as ``lora rank=4``, stays as it is."""
    row = METHODS.get(method)
    return method if row is None else _METHODS.get(method) or row.short


def trained_in_words(trains: str) -> str:
    """Write what a fine-tune of a sweep trained, ``LoRA, rank 4`` for ``lora rank=4``; terms, ``all`` and ``head`` stay
    as they are.
    """
    name, *settings = trains.split() or [trains]
    row = METHODS.get(name)
    if row is None or name in TERMS or not (row.beyond_biases or not row.trains):
        return trains
    words = [" ".join(setting.partition("=")[::2]).replace("_", " ").replace(",", " ") for setting in settings]
    return ", ".join([row.short, *(word.removeprefix("targets ") for word in words)])


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
