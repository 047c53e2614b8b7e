"""Plane of a bias before and after a fine-tune: where the pair lies, lines of equal score, and its path.

Two vectors span a plane, so a pair is drawn in it without loss. Here ``pre`` is the unit vector (1, 0), and
``post`` is (r cos a, r sin a) with the length ratio r and the angle a: the projection ratio depends on nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from beft_core.errors import UserError
from beft_core.scores.approaches import of_movement
from beft_core.scores.formulas import Movement
from beft_core.snapshots.snapshot import Snapshot


@dataclass(frozen=True)
class Pair:
    """Pair of one layer of a bias term before and after, with its projection ratio taken apart (paper, section 2.1)."""

    pre_norm: float
    post_norm: float
    angle: float
    """Angle in degrees, 0 to 180; 90 by convention where exactly one vector is zero."""
    ratio: float
    """Ratio of lengths |post| / |pre|; infinity where only pre is zero."""
    score: float
    """Projection ratio of the pair."""
    magnitude: float
    """Magnitude ``sum |post - pre|`` of the pair."""

    @classmethod
    def of(cls, pre: np.ndarray, post: np.ndarray) -> Pair:
        """Make a pair of two vectors [width].

        Raises:
            UserError: shapes that differ, NaN or infinite values.
        """
        movement = Movement(np.atleast_2d(pre), np.atleast_2d(post))
        shape = movement.geometry()
        return cls(
            pre_norm=float(np.linalg.norm(pre.astype(np.float64))),
            post_norm=float(np.linalg.norm(post.astype(np.float64))),
            angle=float(shape["angle_degrees"][0]),
            ratio=float(shape["length_ratio"][0]),
            score=float(movement.projection_ratio()[0]),
            magnitude=float(movement.magnitude()[0]),
        )

    @property
    def onto(self) -> Literal["pre", "post"]:
        """Name of the longer vector: the shorter is projected onto it, which tells the two cases apart."""
        return "post" if self.ratio > 1 else "pre"

    @property
    def post(self) -> tuple[float, float]:
        """Tip of post, in lengths of pre."""
        return self.ratio * np.cos(np.radians(self.angle)), self.ratio * np.sin(np.radians(self.angle))

    @property
    def foot(self) -> tuple[float, float]:
        """Foot of the projection, in lengths of pre; NaN where pre is zero."""
        cosine = np.cos(np.radians(self.angle))
        if self.onto == "pre":
            return float(self.ratio * cosine), 0.0
        return float(cosine * cosine), float(cosine * np.sin(np.radians(self.angle)))


def tips(geometry: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates x and y of every post, in lengths of its pre: float64 of the shape of `Movement.geometry`'s arrays.

    NaN where pre is zero and post is not: there is no length to measure by.
    """
    ratio = np.where(np.isfinite(geometry["length_ratio"]), geometry["length_ratio"], np.nan)
    angle = np.radians(geometry["angle_degrees"])
    return ratio * np.cos(angle), ratio * np.sin(angle)


def iso_line(score: float, reach: float = 10.0, points: int = 361) -> tuple[np.ndarray, np.ndarray]:
    """Line of all posts of a given projection ratio, pre being (1, 0): x and y, closed unless the score is 1.

    With c = 1 - score the two cases of the formula give two pieces. A post that is not longer than pre scores
    1 - r cos a: the chord x = c of the unit circle. A longer one scores 1 - cos(a) / r, hence r = cos(a) / c: an
    arc of the circle through the origin with centre (1 / 2c, 0). They meet on the unit circle. For score 1 both are
    the y axis, drawn up to `reach`; for 0 and 2 they are one point, (1, 0) and (-1, 0).

    Raises:
        UserError: a score outside [0, 2], which no pair has.
    """
    if not 0 <= score <= 2:
        raise UserError(f"projection ratio {score:g}", "a value from 0 to 2")
    c = 1 - score
    if c == 0:
        return np.zeros(2), np.array([-reach, reach])
    end = np.arccos(abs(c))
    angle = np.linspace(-end, end, points)
    radius = np.cos(angle) / abs(c)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    return np.sign(c) * np.append(x, x[0]), np.append(y, y[0])  # back along the chord


@dataclass(frozen=True)
class Path:
    """Path of one term along a fine-tune; arrays [checkpoints, layers], the first checkpoint is pre."""

    term: str
    geometry: Mapping[str, np.ndarray]
    """Geometry at each checkpoint, by the names of `Movement.geometry`."""
    scores: Mapping[str, np.ndarray]
    """Scores by every approach that compares before and after, by its key."""


@dataclass(frozen=True)
class Trajectory:
    """Trajectory of a stack of terms along a fine-tune."""

    steps: np.ndarray
    """Optimizer step of each checkpoint, int64 [checkpoints]; 0 is before the fine-tune."""
    paths: tuple[Path, ...]
    """Terms that were followed; frozen ones were not."""


def has_trajectory(snapshot: Snapshot) -> bool:
    """Whether a snapshot was followed through its fine-tune; reads no array but the list of steps."""
    return snapshot.trajectory_step is not None


def trajectory(snapshot: Snapshot, stack: str, most: int = 100) -> Trajectory | None:
    """Trajectory of a stack's terms from before the fine-tune on, at up to `most` checkpoints (evenly, with the last).

    None where the snapshot was not followed.

    Raises:
        UserError: NaN or infinite values.
    """
    recorded = snapshot.trajectory_step
    if recorded is None:
        return None
    chosen = np.unique(np.linspace(0, len(recorded) - 1, most).round().astype(int))
    chosen = chosen[recorded[chosen] > 0]  # the pre stands for step 0
    paths = []
    for held, term in snapshot.keys():  # noqa: SIM118 - a method of Snapshot, not of a dict
        followed = snapshot.steps(held, term) if held == stack else None
        if followed is None:
            continue
        pre = snapshot.pre(stack, term)
        movements = [Movement(pre, post) for post in (pre, *followed[chosen])]
        shapes = [movement.geometry() for movement in movements]
        paths.append(
            Path(
                term,
                {key: np.stack([shape[key] for shape in shapes]) for key in shapes[0]},
                {
                    approach.key: np.stack([approach.per_layer(movement) for movement in movements])
                    for approach in of_movement()
                },
            )
        )
    return Trajectory(np.array([0, *recorded[chosen]]), tuple(paths)) if paths else None
