"""Templates of prompts: text with names of columns in braces, each with filters that change what stands there.

``{question|question_mark|capital}`` is the column ``question`` after two filters. ``{{`` and ``}}`` are braces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from beft_core.errors import UserError

MAX_TEMPLATE = 20_000
"""Most characters of a template."""
MAX_FIELDS = 100
"""Most columns that a template names."""


class Filter(NamedTuple):
    """Filter of a template."""

    about: str
    """Description of what it does."""
    apply: Callable[[str], str]


def _lower_first_word(text: str) -> str:
    first, space, rest = text.partition(" ")
    return text if first == "I" else f"{first.lower()}{space}{rest}"


def _conjunction(text: str) -> str:
    known = {"effect": "so", "cause": "because"}
    if text not in known:
        raise UserError(f"got {text[:40]!r}", f"one of {', '.join(known)}")
    return known[text]


FILTERS: dict[str, Filter] = {
    "strip": Filter("without white space around it", str.strip),
    "lower": Filter("in lower case", str.lower),
    "capital": Filter("with a capital first letter", lambda text: text[:1].upper() + text[1:]),
    "lower_first_word": Filter("its first word in lower case, unless that is I", _lower_first_word),
    "question_mark": Filter("with a question mark at its end", lambda text: text if text.endswith("?") else f"{text}?"),
    "no_full_stop": Filter("without the full stop at its end", lambda text: text.rstrip().removesuffix(".")),
    "conjunction": Filter("effect becomes so, cause becomes because", _conjunction),
    "highlights": Filter("@highlight and a newline become a dash", lambda text: text.replace("@highlight\n", "- ")),
}
"""Filters by name."""

_PART = re.compile(r"(\{\{|\}\}|\{[^{}]*\}|\{|\})")


class Field(NamedTuple):
    """Place in a template that a column fills."""

    column: str
    filters: tuple[str, ...]

    def fill(self, row: Mapping[str, str]) -> str:
        """Give what stands there for the texts of a row, by column."""
        text = row[self.column]
        for name in self.filters:
            text = FILTERS[name].apply(text)
        return text


@dataclass(frozen=True)
class Template:
    """Template of a text. Raises UserError for single braces, fields without a name, and unknown filters."""

    text: str

    def __post_init__(self) -> None:
        if len(self.text) > MAX_TEMPLATE:
            raise UserError(f"got a template of {len(self.text):,} characters", f"at most {MAX_TEMPLATE:,}")
        if len(self.columns) > MAX_FIELDS:
            raise UserError(f"got a template with {len(self.columns)} columns", f"at most {MAX_FIELDS}")

    @cached_property
    def parts(self) -> tuple[str | Field, ...]:
        """Plain texts and fields in their order."""
        parts: list[str | Field] = []
        for piece in _PART.split(self.text):
            if piece in ("{{", "}}"):
                parts.append(piece[0])
            elif piece in ("{", "}"):
                raise UserError(
                    f"got a single {piece} in the template {self.text[:60]!r}", "names of columns in braces", piece * 2
                )
            elif piece.startswith("{"):
                parts.append(_field(piece[1:-1], self.text))
            elif piece:
                parts.append(piece)
        return tuple(parts)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it needs, each once, in their order."""
        return tuple(dict.fromkeys(part.column for part in self.parts if isinstance(part, Field)))

    def render(self, row: Mapping[str, str]) -> str:
        """Fill in the texts of a row, by column; every column of the template must be there."""
        return "".join(part if isinstance(part, str) else part.fill(row) for part in self.parts)


def _field(inside: str, template: str) -> Field:
    column, *filters = (part.strip() for part in inside.split("|"))
    if not column:
        raise UserError(f"got {{{inside}}} in the template {template[:60]!r}", "the name of a column in braces")
    for name in filters:
        if name not in FILTERS:
            raise UserError(f"got the filter {name[:40]!r} of {column[:40]!r}", f"one of {', '.join(FILTERS)}")
    return Field(column, tuple(filters))
