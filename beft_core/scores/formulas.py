"""Formulas of the scores: projection ratio, Magnitude, Fisher, and the geometry beside them; numpy only.

Everything is computed in float64, layer by layer, from [layers, width] arrays before and after a fine-tune.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from beft_core.errors import UserError


class Movement:
    """Movement of a bias term, layer by layer, from its values before and after: [layers, width] twice.

    Holds only [layers] numbers, so that a table of a thousand snapshots does not keep their tensors.

    Raises:
        UserError: shapes that differ, NaN or infinite values.
    """

    def __init__(self, pre: np.ndarray, post: np.ndarray) -> None:
        if pre.ndim != 2 or pre.shape != post.shape or not pre.size:
            raise UserError(f"shapes {pre.shape} and {post.shape}", "twice the same [layers, width]")
        self.width = pre.shape[1]
        """Number of elements of a layer."""
        a, b = pre.astype(np.float64), post.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            moved = b - a
            self._l1 = np.abs(moved, out=moved).sum(axis=1)
            self._a_exponent, self._b_exponent = _take_exponents(a, pre), _take_exponents(b, post)
            self._aa, self._bb, self._ab = np.vecdot(a, a), np.vecdot(b, b), np.vecdot(a, b)
        _refuse_non_finite(self._aa + self._bb + self._l1)

    @property
    def started_at_zero(self) -> bool:
        """Whether every element of every layer was zero before: there is no direction that it could turn from."""
        return not self._aa.any()

    def magnitude(self) -> np.ndarray:
        """Sum of ``|post - pre|``, the paper's L1: float64 [layers]."""
        return self._l1

    def magnitude_mean_abs(self) -> np.ndarray:
        """Mean of ``|post - pre|``, the authors' code: float64 [layers]. Fair where widths differ (grouped queries)."""
        return self._l1 / self.width

    def projection_ratio(self) -> np.ndarray:
        """Projection ratio ``1 - pre.post / max(|pre|, |post|)^2``: float64 [layers].

        Exactly 0 where nothing changed (also where both are zero), 1 where exactly one is zero, above 1 where
        the angle exceeds 90 degrees. Equals ``1 - cos(angle) * min(r, 1/r)`` with ``r = |post|/|pre|``.

        The paper's summary equation (section 2.1) prints the norm unsquared; its derivation and the authors'
        code square it.
        """
        top = np.maximum(self._a_exponent, self._b_exponent)
        dot = np.ldexp(self._ab, self._a_exponent + self._b_exponent - 2 * top)
        square = np.maximum(
            np.ldexp(self._aa, 2 * (self._a_exponent - top)), np.ldexp(self._bb, 2 * (self._b_exponent - top))
        )
        changed = self._l1 > 0
        return np.where(changed, 1 - dot / np.where(changed, square, 1), 0.0)

    def geometry(self) -> dict[str, np.ndarray]:
        """Angle and lengths that the projection ratio is made of: arrays [layers].

        ``cosine``; ``angle_degrees`` (to about 1e-6); ``length_ratio`` = |post|/|pre|; ``reversed``: the
        angle exceeds 90 degrees. Both zero: angle 0, ratio 1. Exactly one zero: 90 degrees, ratio 0 or
        infinity.
        """
        a_zero, b_zero = self._aa == 0, self._bb == 0
        neither = ~(a_zero | b_zero)
        norms = np.where(neither, np.sqrt(self._aa * self._bb), 1)
        cosine = np.clip(np.where(neither, self._ab / norms, a_zero & b_zero), -1, 1)
        with np.errstate(over="ignore"):
            ratio = np.ldexp(np.sqrt(self._bb / np.where(a_zero, 1, self._aa)), self._b_exponent - self._a_exponent)
        return {
            "cosine": cosine,
            "angle_degrees": np.degrees(np.arccos(cosine)),
            "length_ratio": np.where(a_zero, np.where(b_zero, 1.0, np.inf), ratio),
            "reversed": cosine < 0,
        }


def projection_ratio(pre: np.ndarray, post: np.ndarray) -> np.ndarray:
    """Projection ratio of a bias before and after, [layers, width] twice: float64 [layers]."""
    return Movement(pre, post).projection_ratio()


def geometry(pre: np.ndarray, post: np.ndarray) -> dict[str, np.ndarray]:
    """Geometry (`Movement.geometry`) of a bias before and after, [layers, width] twice: arrays [layers]."""
    return Movement(pre, post).geometry()


def magnitude(pre: np.ndarray, post: np.ndarray, variant: Literal["l1", "mean_abs"] = "l1") -> np.ndarray:
    """Magnitude of the movement from [layers, width] to [layers, width], as sum or mean: float64 [layers]."""
    movement = Movement(pre, post)
    return movement.magnitude() if variant == "l1" else movement.magnitude_mean_abs()


def fisher_score(fisher: np.ndarray, variant: Literal["exact", "batch"] = "exact") -> np.ndarray:
    """Empirical Fisher information of each layer from squared gradients [layers, width]: float64 [layers].

    "exact" sums over the elements: (1/N) sum_i |grad_b log p(y_i|x_i)|^2. "batch" averages over them, as the
    authors' code does with the squared mean gradient of batches of 8.

    Raises:
        UserError: not two-dimensional, NaN, infinite or negative values.
    """
    if fisher.ndim != 2 or not fisher.size:
        raise UserError(f"squared gradients of shape {fisher.shape}", "[layers, width]")
    total = fisher.sum(axis=1, dtype=np.float64) / (1 if variant == "exact" else fisher.shape[1])
    _refuse_non_finite(total)
    if (fisher < 0).any():
        raise UserError("negative squared gradients", "values of at least zero")
    return total


def _take_exponents(vectors: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """Divide each layer of float64 [layers, width] by a power of two, exactly, so that squares stay in range.

    Returns the exponents, int64 [layers]. Squares of what is stored as float32 are in range as they are.
    """
    if stored.dtype.itemsize <= 4:
        return np.zeros(len(vectors), dtype=np.int64)
    peak = np.abs(vectors).max(axis=1)
    # Clipped so that 2**-exponent is finite; what lies below 2**-1000 is then still large enough to square.
    exponent = np.where(peak > 0, np.frexp(peak)[1].astype(np.int64), -1000).clip(-1000)
    vectors *= np.ldexp(1.0, -exponent)[:, None]
    return exponent


def _refuse_non_finite(per_layer: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(per_layer))
    if len(bad):
        raise UserError(f"layer {bad[0]} holds a NaN or an infinite value", "finite numbers")
