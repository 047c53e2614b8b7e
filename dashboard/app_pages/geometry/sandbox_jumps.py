"""Configurations of the sandbox in which the approaches disagree, or that show one of them at its limit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from beft_core.scores.approaches import PAPER
from beft_core.scores.formulas import Movement


@dataclass(frozen=True)
class Position:
    """Position of the sandbox: b lies on the x axis, the rest is relative to it."""

    ratio: float = 1.3
    """Length ratio |b'| / |b|, 0 to 2."""
    angle: float = 50.0
    """Angle from b to b', -180 to 180 degrees."""
    length: float = 1.0
    """Length |b|, 0.4 to 1."""
    gradient: float = 0.5
    """Length of the gradient of the loss at b, 0 to 1."""
    direction: float = -65.0
    """Direction of the negative gradient, in degrees."""

    @property
    def movement(self) -> Movement:
        """Write b and b' as the engine takes them: [1 layer, 2 numbers]."""
        angle = np.radians(self.angle)
        pre = np.array([[self.length, 0.0]])
        return Movement(pre, self.length * self.ratio * np.array([[np.cos(angle), np.sin(angle)]]))

    def scores(self) -> dict[str, float]:
        """Compute the projection ratio, Magnitude and Fisher, by the engine's formulas."""
        return {
            PAPER: float(self.movement.projection_ratio()[0]),
            "magnitude": float(self.movement.magnitude()[0]),
            "fisher": self.gradient**2,
        }


@dataclass(frozen=True)
class Jump:
    """Button of the sandbox: one or two positions and what they teach."""

    title: str
    lesson: str
    a: Position
    b: Position | None = None
    same: str | None = None
    """Score that the two positions share, to three digits; all others differ."""
    opposite: bool = False
    """Whether two scores rank the positions in opposite order."""


JUMPS: tuple[Jump, ...] = (
    Jump(
        "Same Magnitude, other ratio",
        "A only turned, by 29°. B only shrank, to 39%. Both lie on one rhombus, so Magnitude gives them the same "
        "score; the projection ratio of B is five times that of A. Walk along the edge and watch the numbers.",
        Position(1.0, 29.0),
        Position(0.39, 0.0),
        same="magnitude",
    ),
    Jump(
        "Same ratio, other Magnitude",
        "A is half of b. B is as long as b but turned by 60°. Both have the same shadow on b, so the same projection "
        "ratio; Magnitude sees B move almost three times as far.",
        Position(0.5, 0.0),
        Position(1.0, 60.0),
        same=PAPER,
    ),
    Jump(
        "Opposite order",
        "A only grew. B shrank and turned a little. Magnitude says A changed more, the projection ratio says B: a "
        "vector that grows still contains the old one, a vector that shrinks has lost it.",
        Position(1.9, 0.0),
        Position(0.3, 10.0),
        opposite=True,
    ),
    Jump(
        "Smaller b, same turn",
        "Angle and length ratio are the same; b itself is half as long in B. Magnitude halves, the projection ratio "
        "measures relative to b and stays. So Magnitude favours terms with large biases to begin with.",
        Position(1.2, 45.0, 1.0),
        Position(1.2, 45.0, 0.5),
        same=PAPER,
    ),
    Jump(
        "Only longer, not turned",
        "b′ points exactly where b did and is twice as long: b projected onto b′ covers half of it, hence 0.5. Growing "
        "alone never reaches 1, however far it goes.",
        Position(2.0, 0.0),
    ),
    Jump(
        "Turned by 90°, hardly longer",
        "The length barely changed, and yet nothing of b is left in b′: its shadow is a point, and the projection "
        "ratio is 1. Any length gives 1 at a right angle.",
        Position(1.05, 90.0),
    ),
    Jump(
        "Reversed",
        "Beyond 90° the shadow points backwards, and the projection ratio exceeds 1; at 180° and equal length it is 2, "
        "its maximum. The lab marks such layers with ↺.",
        Position(1.0, 180.0),
    ),
)
