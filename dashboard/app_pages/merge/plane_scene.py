"""Plane of two changes as data for the browser's picture, and the words around it, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from beft_core.merging.kept import CORRELATIONS
from beft_core.merging.plane import HIGH, LOW, Surface, balanced, surfaces
from beft_core.merging.result import MergeResult
from beft_core.merging.similarity import Comparison
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.metrics import metric_in_words
from dashboard.figures.merging import band_colours
from dashboard.figures.parts.labels import as_written
from dashboard.shared.text import plain

SENTENCE = "Two tasks tuned the same biases. Add up their changes, and one model serves both: how much of each is left?"
"""Sentence below the title of the page."""
TITLE = "The plane of the two changes"
START = 0.5
"""Share of each change at first: their average."""


def answer(labels: Sequence[str], found: Sequence[Surface]) -> str:
    """Say where the best compromise lies, or how one gets to see it."""
    first, second = (plain(as_written(label)) for label in labels)
    if not found:
        return (
            f"Every merge of **{first}** and **{second}** by shares is a point here; their average is the middle. "
            "Score the plane to see what each point is worth on both tasks."
        )
    best = balanced(found)
    if best is None:
        return "No point of the plane has a finite metric above zero on both tasks."
    values = ", ".join(f"{plain(as_written(one.task))} {one.at(*best):.1f} %" for one in found)
    middle = ", ".join(f"{plain(as_written(one.task))} {one.at(START, START):.1f} %" for one in found)
    return (
        f"The best compromise on this grid takes **{best[0]:g} of {first}'s change and {best[1]:g} of {second}'s**: "
        f"{values}. Their average, 0.5 and 0.5: {middle}."
    )


def share_of(letter: str, label: str) -> str:
    """Write the label of the slider of a share."""
    return f"{letter}, share of {plain(as_written(label))}'s change"


def here(found: Sequence[Surface], alpha: float, beta: float) -> str:
    """Write what a point is worth on each task."""
    words = ", ".join(f"**{plain(as_written(one.task))} {one.at(alpha, beta):.1f} %**" for one in found)
    return f"At {alpha:.2f} and {beta:.2f}: {words}, between the points that were scored."


def examples(result: MergeResult) -> str:
    """Write how many validation examples each task was scored on."""
    sizes = ", ".join(
        f"{plain(as_written(task))} {about.examples}"
        + (f" of {about.available}" if about.examples < about.available else "")
        for task, about in result.tasks.items()
    )
    return f"Validation examples: {sizes}."


def scene(
    at: Sequence[float],
    snapshots: Sequence[Snapshot],
    terms: Collection[str],
    comparison: Comparison,
    result: MergeResult | None,
) -> dict[str, Any]:
    """Describe the picture to the browser: the point, the two changes of ``terms`` to scale, and a panel per task.

    ``at``: shares of the two changes; ``result``: an evaluation that scored the plane, if there is one.
    """
    return {
        "at": list(at),
        "low": LOW,
        "high": HIGH,
        "labels": [as_written(label)[:24] for label in comparison.labels],
        "changes": _changes(snapshots, terms, comparison),
        "panels": _panels(result) or [{"title": "metrics not scored yet", "values": None}],
    }


def _panels(result: MergeResult | None) -> list[dict[str, Any]]:
    """Write what the picture draws for each task as plain lists."""
    panels: list[dict[str, Any]] = []
    if result is None:
        return panels
    for one in surfaces(result):
        metric, name = result.tasks[one.task].metric, as_written(one.task)[:40]
        finite = one.values[np.isfinite(one.values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        panels.append(
            {
                "title": f"{name}, {metric_in_words(metric)}" + " × 100" * (metric in CORRELATIONS),
                "shares": one.alphas.tolist(),
                "values": [[None if math.isnan(v) else round(v, 3) for v in row] for row in one.values.tolist()],
                "range": [low, high],
                "colours": band_colours(),
            }
        )
    return panels


def _changes(snapshots: Sequence[Snapshot], terms: Collection[str], comparison: Comparison) -> list[list[float]]:
    """Compute the two changes in their own plane, [2][x, y]: the first to the right, the longer one of length 1.

    The angle is kept between 30 and 150 degrees, so that the picture does not fold where the changes are parallel.
    """
    moved = [
        np.concatenate(
            [
                (one.post(*key).astype(np.float64) - one.pre(*key)).ravel()
                for key in one.keys()  # noqa: SIM118
                if key[1] in terms
            ]
        )
        for one in snapshots
    ]
    lengths = [float(np.linalg.norm(change)) for change in moved]
    longest = max(lengths) or 1.0
    # A change that is very short beside the other one is still to be seen.
    first, second = (max(length / longest, 0.35) for length in lengths)
    degrees = float(comparison.differences.angle_degrees[0, 1])
    angle = math.radians(min(150.0, max(30.0, degrees if math.isfinite(degrees) else 90.0)))
    return [[first, 0.0], [second * math.cos(angle), second * math.sin(angle)]]
