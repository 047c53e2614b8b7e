"""Verdicts on a claim, and the one rule by which an interval becomes one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from beft_core.counted import unsigned_zero


class Verdict(StrEnum):
    """Verdict of our numbers on a claim of the paper."""

    CONFIRMED = "confirmed"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"
    UNTESTED = "untested"


RULE = (
    "Confirmed: the whole 95 % interval lies above what the claim has to beat. Contradicted: no part of it does. "
    "Undecided: it lies on both sides, or chance cannot be judged. Untested: the table does not hold what it takes."
)
"""Sentences on how a verdict comes about."""


@dataclass(frozen=True)
class Estimate:
    """Mean with the ends of its 95 % interval, NaN where chance cannot be judged."""

    mean: float
    low: float
    high: float
    count: int
    """Number of values that were averaged."""

    def words(self, unit: str = "", decimals: int = 1, sign: bool = True) -> str:
        """Write it as ``+6.8 points (+2.5 to +11.9)``, without the interval where there is none."""
        form = f"{'+' if sign else ''}.{decimals}f"
        text = f"{unsigned_zero(self.mean, decimals):{form}}{unit and ' '}{unit}"
        if math.isnan(self.low) or math.isnan(self.high):
            return text
        low, high = (unsigned_zero(end, decimals) for end in (self.low, self.high))
        return f"{text} ({low:{form}} to {high:{form}})"


@dataclass(frozen=True)
class Finding:
    """What our numbers say on a claim."""

    verdict: Verdict
    numbers: str
    """Numbers behind the verdict, or why there are none, in a sentence without its full stop."""
    trivial: str = ""
    """Rule without a probe, or reading without the claim, that does as well; empty where there is none."""


def judged(estimate: Estimate, above: float = 0.0) -> Verdict:
    """Judge whether something lies above a number: see :data:`RULE`."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return Verdict.UNDECIDED
    if estimate.low > above:
        return Verdict.CONFIRMED
    return Verdict.CONTRADICTED if estimate.high <= above else Verdict.UNDECIDED


def together(verdicts: list[Verdict]) -> Verdict:
    """Judge a claim of several parts: all must hold, one that does not contradicts it. Parts that are untested, and
    those that are undecided, leave it undecided; with none tested it is untested.
    """
    if Verdict.CONTRADICTED in verdicts:
        return Verdict.CONTRADICTED
    if verdicts and set(verdicts) == {Verdict.CONFIRMED}:
        return Verdict.CONFIRMED
    return Verdict.UNDECIDED if set(verdicts) - {Verdict.UNTESTED} else Verdict.UNTESTED


def untested(why: str) -> Finding:
    """Make the finding of a claim that the table does not test."""
    return Finding(Verdict.UNTESTED, why)
