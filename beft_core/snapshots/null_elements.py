"""Elements of a bias term that cannot act, as half-open ranges: the form in which a snapshot records them.

Partial rotary positions (GPT-NeoX, GPT-J, Phi-3) turn the first elements of each head and leave the rest: there the
key bias adds the same number to every logit of a row, as it does without positions. ``[[4, 16], [20, 32]]`` says this
of two heads of 16 elements, in every layer. Needs numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Ranges = Sequence[Sequence[int]]
"""Stretches of elements as [first, end), ascending and apart."""


def ranges_of(mask: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Find the stretches of True in a mask, bool [width]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return tuple((int(first), int(end)) for first, end in edges.reshape(-1, 2))


def mask_of(ranges: Ranges, width: int) -> np.ndarray:
    """Make the mask of stretches, bool [width]: the inverse of :func:`ranges_of`. What lies beyond the width is left
    out.
    """
    mask = np.zeros(width, dtype=bool)
    for first, end in ranges:
        mask[first:end] = True
    return mask


def count_of(ranges: Ranges) -> int:
    """Count the elements of a layer in the stretches."""
    return sum(end - first for first, end in ranges)


def is_ranges(value: Any) -> bool:
    """Whether a value from a file is what :func:`ranges_of` gives, with at least one stretch."""
    if not isinstance(value, list | tuple) or not value:
        return False
    last = -1
    for stretch in value:
        if not isinstance(stretch, list | tuple) or len(stretch) != 2 or any(type(n) is not int for n in stretch):
            return False
        if not last < stretch[0] < stretch[1] < 2**31:
            return False
        last = stretch[1]
    return True


def noise_share(pre: np.ndarray, post: np.ndarray, ranges: Ranges) -> float:
    """Compute the share of ``sum |post - pre|`` ([layers, width] each) that null elements have; 0 if nothing moved.

    They have no gradient, so whatever moved them is rounding noise.
    """
    moved = np.abs(np.subtract(post, pre, dtype=np.float64))
    total = float(moved.sum())
    return float(moved[:, mask_of(ranges, pre.shape[1])].sum()) / total if total else 0.0


def said(term: str, ranges: Ranges, width: int, verb: str = "cannot act") -> str:
    """Say in a sentence how many elements are null: "24 of 32 elements of k in each layer cannot act"."""
    return f"{count_of(ranges)} of {width} elements of {term} in each layer {verb}"
