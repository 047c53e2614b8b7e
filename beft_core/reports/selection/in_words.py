"""Texts on whether scores predict performance, as rows and sentences: for the terminal, the HTML report and the
page.
"""

from __future__ import annotations

import math

import pandas as pd

from beft_core.reports.selection.prediction import together
from beft_core.reports.selection.rules import RULES, Rule
from beft_core.scores.approaches import APPROACHES

BASELINES: tuple[Rule, ...] = tuple(rule for key, rule in RULES.items() if key not in APPROACHES)
"""Rules that read no score of a probe."""
BASELINE_NOTES: tuple[str, ...] = tuple(f"{rule.label} reads {rule.what}." for rule in BASELINES)
HEAD: tuple[str, ...] = ("rule", "cases", "regret, points", "hit rate", "Kendall's tau")
"""Names of the columns of :func:`rows`."""
DRAWS: dict[str, str] = {
    "tasks": "Intervals: 95 %, of 2,000 bootstrap means that draw tasks, then data sizes and seeds within them.",
    "seeds": "Intervals: 95 %, of 2,000 bootstrap means that draw data sizes and seeds of this one task.",
}
"""Explanations of the column ``draws`` of ``prediction.summary``."""


def interval(mean: float, low: float, high: float, decimals: int = 2) -> str:
    """Write a mean as ``1.30 (0.40 to 2.10)``; without the interval where there is none, a dash without a mean."""
    if not math.isfinite(mean):
        return "–"
    ends = f" ({low:.{decimals}f} to {high:.{decimals}f})" if math.isfinite(low) and math.isfinite(high) else ""
    return f"{mean:.{decimals}f}{ends}"


def rows(summary: pd.DataFrame) -> list[tuple[str, ...]]:
    """Write texts under :data:`HEAD`, a row per rule, from ``prediction.summary`` of one task and regime.

    Rules that never differ share a row, that of the first; ``(+ 4)`` says how many others, :func:`shared_rows` which.
    """
    others = together(summary)
    return [
        (
            RULES[row.rule].label + (f" (+ {len(others[row.rule])})" if others[row.rule] else ""),
            str(row.n),
            interval(row.regret, row.regret_low, row.regret_high),
            interval(row.hit_rate, row.hit_low, row.hit_high),
            interval(row.tau, row.tau_low, row.tau_high),
        )
        for row in summary.itertuples(index=False)
        if row.rule in others
    ]


def shared_rows(summary: pd.DataFrame) -> list[str]:
    """Write a sentence for each row that several rules share. ``summary``: of ``prediction.summary``."""
    return [
        f"{RULES[rule].label} (+ {len(others)}): {'; '.join(others)} name{'s' * (len(others) == 1)} the same term with "
        "the same tau in every case; one row for all."
        for rule, others in together(summary).items()
        if others
    ]
