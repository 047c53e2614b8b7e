"""Answer of one approach on one snapshot, in Markdown: what it selects, by which scores, or why nothing."""

from __future__ import annotations

from beft_core.scores.approaches import APPROACHES
from beft_core.scores.no_selection import NoSelection, Why
from beft_core.scores.table import is_noise
from beft_core.terms import CANDIDATES
from dashboard.content.samples import Opened
from dashboard.figures.parts.numbers import short
from dashboard.figures.parts.style import approach_forms, latex, tinted


def heading(opened: Opened, key: str, stack: str) -> str:
    """Name the approach, and the term that it selects where it selects one."""
    term = opened.selected(stack).get(key)
    name = f"{approach_forms()[key].sign} {APPROACHES[key].label}"
    return name if term is None else f"{name}: {tinted(term, latex(term))}"


def contest(opened: Opened, key: str, stack: str) -> str:
    """Write the scores of the candidates, the selected one first; why none is selected otherwise."""
    term = opened.selected(stack).get(key)
    if term is None:
        reason = opened.scores.no_selection(stack).get(key)
        return _nobody(reason) if reason else "Not measured in this snapshot."
    scores = opened.scores.mean_scores(key, stack)
    order = sorted((t for t in scores if t in CANDIDATES), key=lambda t: (t != term, -scores[t]))
    return ", ".join(f"{latex(t)} {short(scores[t])}" for t in order)


def noise(opened: Opened, key: str, stack: str) -> list[str]:
    """Write a sentence for each null term whose score is rounding noise."""
    return [
        f"{latex(row.term)} is null in this model: its score is rounding noise, and it cannot be selected."
        for row in opened.scores.rows(stack).values()
        if is_noise(row, key)
    ]


_NOBODY: dict[Why, str] = {
    "nobody": "None of {candidates} took part.",
    "alone": "No contest: of {candidates} only {terms} took part, so none is selected.",
    "from_zero": "No selection: undefined from zero. {terms} started at zero, which scores 1 wherever it ends.",
    "unmoved": "{terms} did not move, so none is selected.",
    "equal": "No selection: all equal. {terms} score the same.",
}
"""Reason why no term is selected -> sentence."""


def _nobody(reason: NoSelection) -> str:
    """Write why no term is selected, in a sentence."""
    terms, candidates = " and ".join(map(latex, reason.terms)), ", ".join(map(latex, CANDIDATES))
    return _NOBODY[reason.why].format(terms=terms, candidates=candidates)
