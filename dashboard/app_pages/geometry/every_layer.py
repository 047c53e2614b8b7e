"""Words on the picture of every layer, and the layer to begin with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from beft_core.scores.approaches import PAPER
from beft_core.scores.plane import tips
from beft_core.scores.table import TermScores
from beft_core.terms import CANDIDATES
from dashboard.figures.geometry import RIM, beyond_rim, without_length
from dashboard.figures.parts.style import latex

ALT = "Every layer of every term: angle from before to after, and length after relative to before"
CLICK = "Click a point to take it apart."


def strongest(rows: Sequence[TermScores]) -> TermScores:
    """Find the candidate with the highest projection ratio; where none is there, the term."""
    contest = [row for row in rows if row.term in CANDIDATES] or list(rows)
    return max(contest, key=lambda row: float(row.scores[PAPER].mean()))


def legend(rows: Sequence[TermScores], click: str = "") -> list[str]:
    """Write what the picture means, and what it cannot show, in Markdown. ``click``: what a click on a point does."""
    frozen = [row.term for row in rows if row.null and not row.trained]
    notes = [
        "Each point is one layer: its number is in it, its direction is the angle between before and after, its "
        "distance from the origin is the length after, relative to before. Thin lines join points of one projection "
        f"ratio. {click}".rstrip()
    ]
    if frozen:
        notes.append(
            f"■ {', '.join(latex(term) for term in frozen)}: null here and therefore frozen, so every layer lies at "
            "(×1, 0°) and scores 0."
        )
    back = {row.term: int(row.movement.geometry()["reversed"].sum()) for row in rows}
    if any(back.values()):
        layers = ", ".join(f"{latex(term)} ({count})" for term, count in back.items() if count)
        notes.append(f"◆ ↺ reversed, turned by more than 90°: {layers}. These layers score above 1.")
    for term, count in without_length(rows).items():
        notes.append(
            f"{latex(term)}: before the fine-tune {'it is' if count == 1 else f'{count} layers are'} zero, so there is "
            "neither angle nor length ratio (it is infinite). Not drawn; the projection ratio is 1 by definition."
        )
    if _sideways(rows):
        notes.append(
            "Most points lie straight above the tip of *before*: the bias was moved sideways, at right angles to what "
            "it was. So it turned and grew at once."
        )
    if beyond_rim(rows):
        notes.append(f"{beyond_rim(rows)} points are longer than ×{RIM:g} and drawn there; the hover text is exact.")
    return notes


def no_points(rows: Sequence[TermScores]) -> str:
    """Write why the picture would be empty, in Markdown: biases that were added began at zero in every layer."""
    terms = ", ".join(latex(row.term) for row in rows)
    return (
        f"{terms}: zero before the fine-tune in every layer, so there is neither angle nor length ratio, and no point "
        "to draw. Nor does the score rank them: the projection ratio is 1 by definition."
    )


def _sideways(rows: Sequence[TermScores]) -> bool:
    """Say whether most layers that moved did so at right angles to pre, within 15 degrees."""
    x, y = (np.concatenate(axis) for axis in zip(*(tips(row.movement.geometry()) for row in rows), strict=True))
    far = np.hypot(x - 1, y)
    moved = np.isfinite(far) & (far > 1e-6)
    return bool(moved.any()) and float(np.mean(np.abs(x[moved] - 1) < np.sin(np.radians(15)) * far[moved])) > 0.8
