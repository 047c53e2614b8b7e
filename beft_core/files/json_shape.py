"""Descriptions of what JSON from a file must look like; what is wrong with a value comes in words.

A description is made of the classes below, one for each kind of value. It bounds sizes as well as kinds, so that
whatever passes can be computed with, shown and written again.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from beft_core.errors import UserError


class Shape(Protocol):
    """Description of what a value must be."""

    def wrong(self, value: Any, where: str) -> str | None:
        """Say what is wrong with the value, in words that begin with `where` it stands; None if nothing is."""


def check(value: Any, shape: Shape, what: str) -> None:
    """Check that a value has a shape. Raises UserError, in words that begin with `what`, where it has not."""
    if (wrong := shape.wrong(value, what)) is not None:
        raise UserError(wrong)


@dataclass(frozen=True)
class Number:
    """Shape of a finite number; true and false are none."""

    least: float = -1e100
    most: float = 1e100
    """Largest number: beyond every measured value, and such that squares and sums stay finite."""
    whole: bool = False

    def wrong(self, value: Any, where: str) -> str | None:
        kinds: tuple[type, ...] = (int,) if self.whole else (int, float)
        if type(value) in kinds and self.least <= value <= self.most:
            return None
        return f"{where} is {told(value)}, not a {'whole ' * self.whole}number from {self.least:g} to {self.most:g}"


@dataclass(frozen=True)
class Text:
    """Shape of a text of bounded length."""

    most: int = 200

    def wrong(self, value: Any, where: str) -> str | None:
        fits = isinstance(value, str) and len(value) <= self.most
        return None if fits else f"{where} is {told(value)}, not a text of at most {self.most} characters"


@dataclass(frozen=True)
class OneOf:
    """Shape of one of some texts."""

    choices: Collection[str]
    """Texts that are allowed; of a table the names count, as they are when a value is checked."""

    def wrong(self, value: Any, where: str) -> str | None:
        fits = isinstance(value, str) and value in self.choices
        return None if fits else f"{where} is {told(value)}, not one of {', '.join(self.choices)}"


@dataclass(frozen=True)
class Flag:
    """Shape of true or false."""

    def wrong(self, value: Any, where: str) -> str | None:
        return None if isinstance(value, bool) else f"{where} is {told(value)}, not true or false"


@dataclass(frozen=True)
class Maybe:
    """Shape of null, or of what another description asks for."""

    shape: Shape

    def wrong(self, value: Any, where: str) -> str | None:
        return None if value is None else self.shape.wrong(value, where)


@dataclass(frozen=True)
class ListOf:
    """Shape of a list whose items are all alike."""

    shape: Shape
    most: int = 10_000

    def wrong(self, value: Any, where: str) -> str | None:
        if not isinstance(value, list) or len(value) > self.most:
            return f"{where} is {told(value)}, not a list of at most {self.most}"
        return next((w for i, item in enumerate(value) if (w := self.shape.wrong(item, f"{where}[{i}]"))), None)


@dataclass(frozen=True)
class Table:
    """Shape of an object with named fields: some that must be there, some that may, and `others`, if any may."""

    required: Mapping[str, Shape] = field(default_factory=dict)
    optional: Mapping[str, Shape] = field(default_factory=dict)
    others: Shape | None = None
    most: int = 256
    """Most fields altogether."""

    def wrong(self, value: Any, where: str) -> str | None:
        if not isinstance(value, dict) or len(value) > self.most:
            return f"{where} is {told(value)}, not a table of at most {self.most} fields"
        if missing := self.required.keys() - value.keys():
            return f"{where} has no {min(missing)!r}"
        for name, item in value.items():
            shape = self.required.get(name) or self.optional.get(name) or self.others
            if shape is None or len(name) > 200:
                return f"{where} has an unknown field {name[:40]!r}"
            if (wrong := shape.wrong(item, f"{where}: {name[:40]}")) is not None:
                return wrong
        return None


@dataclass(frozen=True)
class Anything:
    """Shape of any JSON whose numbers, texts, lists and depth are bounded."""

    depth: int = 6

    def wrong(self, value: Any, where: str) -> str | None:
        if value is None or isinstance(value, bool):
            return None
        if isinstance(value, str):
            return Text(4096).wrong(value, where)
        if not isinstance(value, list | dict):
            return Number().wrong(value, where)
        if not self.depth:
            return f"{where} is nested too deep"
        inner = Anything(self.depth - 1)
        return ListOf(inner).wrong(value, where) if isinstance(value, list) else Table(others=inner).wrong(value, where)


def told(value: Any) -> str:
    """Describe a value in a few words, however large it is."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, str):
        return f"the text {value[:20]!r}" + (f" and {len(value) - 20} characters more" if len(value) > 20 else "")
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'table'} of {len(value)}"
    if isinstance(value, int) and abs(value) >= 10**20:
        return f"a whole number of some {int(abs(value).bit_length() * math.log10(2)) + 1} digits"
    return f"{value:g}" if isinstance(value, float) else str(value)
