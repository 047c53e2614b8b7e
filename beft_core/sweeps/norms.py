"""Norms of the pre-trained biases: what a probe's score mostly reads, known before any training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from beft_core.snapshots.snapshot import Key


def pre_norms(biases: Mapping[Key, np.ndarray]) -> dict[str, float]:
    """Values for columns of the result table: ``pre_norm.v`` -> mean over layers of the L2 norm of a layer's b_v,
    float64.

    ``biases``: (stack, term) -> [layers, width], pre-trained. As scores do, norms take the first stack.
    """
    first = next(iter(biases), ("", ""))[0]
    return {
        f"pre_norm.{term}": float(np.linalg.norm(values.astype(np.float64), axis=1).mean())
        for (stack, term), values in biases.items()
        if stack == first
    }
