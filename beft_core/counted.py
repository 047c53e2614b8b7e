"""Numbers of things in words: one step, two steps."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """Write a number of things, whose name is given in the singular: ``1 step``, ``2,000 steps``, ``2 passes``."""
    ending = "es" if what.endswith("s") else "s"
    return f"{number:,} {what}{ending * (number != 1)}"
