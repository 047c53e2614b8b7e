"""Verdicts from intervals."""

from __future__ import annotations

from math import nan

import pytest

from beft_core.reports.claims.verdicts import Estimate, Verdict, judged, together, untested

C, X, D, N = Verdict.CONFIRMED, Verdict.CONTRADICTED, Verdict.UNDECIDED, Verdict.UNTESTED


@pytest.mark.parametrize(
    ("low", "high", "above", "verdict"),
    [
        *((0.1, 2, 0, C), (0, 2, 0, D), (-1, 2, 0, D), (-1, 0, 0, X), (0, 0, 0, X), (-2, -1, 0, X)),
        *((nan, nan, 0, D), (-0.9, 0.5, -1, C), (-3, -1, -1, X), (51, 60, 50, C), (40, 60, 50, D)),
    ],
)
def test_an_interval_becomes_a_verdict(low: float, high: float, above: float, verdict: Verdict) -> None:
    assert judged(Estimate((low + high) / 2, low, high, 5), above) is verdict


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [([C, C], C), ([C, X], X), ([C, D], D), ([C, N], D), ([N, N], N), ([D, N], D), ([X, N], X), ([], N)],
)
def test_all_parts_of_a_claim_must_hold(parts: list[Verdict], verdict: Verdict) -> None:
    assert together(parts) is verdict


def test_numbers_are_written_with_their_intervals() -> None:
    assert Estimate(6.812, 2.498, 11.92, 270).words("points") == "+6.8 points (+2.5 to +11.9)"
    assert Estimate(78.1, 62.6, 92.2, 270).words("%", 0, sign=False) == "78 % (63 to 92)"
    assert Estimate(-0.001, nan, nan, 1).words(decimals=2) == "+0.00"  # and not -0.00


def test_what_is_not_tested_says_why() -> None:
    found = untested("no probe")
    assert (found.verdict, found.numbers, found.trivial) == (N, "no probe", "")
