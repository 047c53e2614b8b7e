"""Line of a merge: one parameter of its method followed from end to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Line:
    """Parameter of a method that a line follows, while the others stay as they are."""

    method: str
    """Method of the points on the line."""
    parameter: str
    label: str
    """Name of the parameter in words; ``{first}`` stands for the first snapshot's label."""
    low: float = 0.0
    high: float = 1.0


_SHARE = Line("weighted", "weights", "weight of {first}")
LINES: dict[str, Line] = {
    "mean": _SHARE,
    "weighted": _SHARE,
    "task_arithmetic": Line("task_arithmetic", "scale", "scale λ"),
    "ties": Line("ties", "density", "share of elements kept", low=0.05),
    "dare": Line("dare", "density", "probability to survive", low=0.1),
    "slerp": Line("slerp", "t", "t, from {first} on"),
}
"""Lines by method. A Fisher average has no parameter, and so no line."""


def line_label(method: str, labels: Sequence[str]) -> str | None:
    """Name of what the line of a method follows; None where there is none."""
    return LINES[method].label.replace("{first}", labels[0]) if method in LINES else None


def position(method: str, settings: Mapping[str, Any], count: int) -> float | None:
    """Position of a merge of ``count`` snapshots on its method's line; None where there is none."""
    if method not in LINES:
        return None
    name = LINES[method].parameter
    if name == "weights":
        weights = settings.get("weights") or [1.0] * count
        return float(weights[0] / sum(weights))
    return float(settings[name])


def settings_at(method: str, settings: Mapping[str, Any], count: int, x: float) -> dict[str, Any]:
    """Parameters of the merge at a position of the line. Of weights, the others share what the first leaves."""
    line = LINES[method]
    if line.parameter != "weights":
        return {**settings, line.parameter: x}
    others = list(settings.get("weights") or [1.0] * count)[1:]
    others = others if sum(others) > 0 else [1.0] * len(others)
    return {"weights": [x, *((1 - x) * other / sum(others) for other in others)]}
