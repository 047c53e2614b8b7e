"""Reasons why an approach selects no term, in one table, in words for a terminal and for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from beft_core.terms import CANDIDATES

Why = Literal["nobody", "alone", "from_zero", "unmoved", "equal"]

_WORDS: dict[Why, str] = {
    "nobody": "there is no contest among {candidates}, none of them took part",
    "alone": "there is no contest among {candidates}, only {terms} took part",
    "from_zero": "undefined from zero ({terms} started at zero, which scores 1 wherever it ends)",
    "unmoved": "{terms} did not move",
    "equal": "all equal ({terms})",
}


@dataclass(frozen=True)
class NoSelection:
    """Reason why one approach selects none of q, k and v."""

    why: Why
    terms: tuple[str, ...] = ()
    """Terms that the reason is about, in canonical order."""

    def __str__(self) -> str:
        """Say the reason as a clause, such as ``all equal (q and v)``."""
        return _WORDS[self.why].format(terms=" and ".join(self.terms), candidates=", ".join(CANDIDATES))


def no_selection(
    scores: Mapping[str, float], contestants: Sequence[str], from_zero: Sequence[str] = ()
) -> NoSelection | None:
    """Find why nothing is selected among ``contestants``; None where one of them is.

    Args:
        scores: term -> mean score over layers.
        contestants: the terms that take part.
        from_zero: terms that would take part, had their score a meaning: it compares with a start that is zero.
    """
    if len(contestants) < 2:
        if from_zero:
            return NoSelection("from_zero", tuple(from_zero))
        return NoSelection("alone" if contestants else "nobody", tuple(contestants))
    values = {scores[term] for term in contestants}
    if max(values) <= 0:
        return NoSelection("unmoved", tuple(contestants))
    return NoSelection("equal", tuple(contestants)) if len(values) == 1 else None


def set_aside(terms: Sequence[str], approach: str) -> str:
    """Say that an approach ranks terms last and selects none of them, because they started at zero.

    ``approach``: its label.
    """
    names = " and ".join(terms)
    return (
        f"{approach} of {names}: undefined from zero (it is 1 wherever a bias ends that started at zero); ranked last "
        "and never selected"
    )
