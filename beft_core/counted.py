"""Numbers of things in words: one step, two steps."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """Write a number of things, whose name is given in the singular: ``1 step``, ``2,000 steps``, ``2 passes``."""
    ending = "es" if what.endswith("s") else "s"
    return f"{number:,} {what}{ending * (number != 1)}"


def unsigned_zero(value: float, decimals: int) -> float:
    """Make a number that would be written as 0, or as −0, with so many decimals a plain 0."""
    return value if round(value, decimals) else 0.0
