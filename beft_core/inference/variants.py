"""Variants of fine-tunes: the same fine-tune with only a share of its change in some terms and layers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

import numpy as np

from beft_core.errors import UserError
from beft_core.snapshots.snapshot import Key, Snapshot

Factors = Mapping[str, float | np.ndarray]
"""Share of a term's change that is there, by term: one number, or one of each layer, [layers]. 1: as it was trained, 0:
as before; a term that is not named is as it was trained.
"""


@dataclass(frozen=True)
class Variant:
    """Biases and head under which examples are read: ``pre + factor * (post - pre)`` in each term and layer.

    The head, the pooler's bias and biases outside of the layers are always those that the fine-tune left.
    """

    snapshot: Snapshot
    task: str
    """Name of the task whose head of the snapshot is used."""
    factors: Factors = field(default_factory=dict)

    @property
    def identity(self) -> Hashable:
        """What tells variants apart, as long as their snapshots are in memory."""
        factors = sorted((term, np.asarray(factor, np.float64).tobytes()) for term, factor in self.factors.items())
        return id(self.snapshot), self.task, tuple(factors)

    @classmethod
    def before(cls, snapshot: Snapshot, task: str) -> Variant:
        """Make the variant with the head that was trained and every bias term as before the fine-tune."""
        return cls(snapshot, task, {term: 0.0 for _, term in snapshot.keys()})  # noqa: SIM118

    @classmethod
    def without_layer(cls, snapshot: Snapshot, task: str, layer: int) -> Variant:
        """Make the variant whose bias terms in one layer are as before the fine-tune, and all else as trained."""
        factors = {}
        for stack, term in snapshot.keys():  # noqa: SIM118
            factors[term] = np.where(np.arange(len(snapshot.pre(stack, term))) == layer, 0.0, 1.0)
        return cls(snapshot, task, factors)

    def values(self, key: Key) -> np.ndarray:
        """Compute the biases of a term, float32 [layers, width]; factors 0 and 1 give what is stored, to the bit.

        Raises:
            UserError: factors that are not finite, or not one for each layer.
        """
        pre, post = self.snapshot.pre(*key), self.snapshot.post(*key)
        factor = np.asarray(self.factors.get(key[1], 1.0), np.float64)
        if factor.shape not in ((), (len(pre),)) or not np.isfinite(factor).all():
            got = f"got the factor {np.array2string(factor, threshold=8)} for {key[1]}"
            raise UserError(got, f"one finite number, or one for each of the {len(pre)} layers")
        if (factor == 1).all():  # nothing to mix, as in most terms of most variants
            return post
        share = np.broadcast_to(factor.reshape(-1, 1), (len(pre), 1))
        mixed = pre.astype(np.float64) + share * (post.astype(np.float64) - pre)
        values: np.ndarray = np.where(share == 1, post, np.where(share == 0, pre, mixed)).astype(np.float32)
        return values


def changed_layers(snapshot: Snapshot) -> list[int]:
    """List the layers in which a fine-tune changed any bias term, from 0."""
    changed: set[int] = set()
    for key in snapshot.keys():  # noqa: SIM118
        differs = (snapshot.pre(*key) != snapshot.post(*key)).any(axis=1)
        changed.update(np.flatnonzero(differs).tolist())
    return sorted(changed)
