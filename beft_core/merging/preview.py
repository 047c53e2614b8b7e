"""Preview of what a merge does to its sources, before anything is scored: lengths and directions of changes; numpy
only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from beft_core.merging.shared_terms import changes
from beft_core.scores.formulas import geometry
from beft_core.snapshots.snapshot import Key, Snapshot


@dataclass(frozen=True)
class Preview:
    """Lengths and directions of the merged change beside each source's, over the merged terms."""

    lengths: dict[Key, np.ndarray]
    """Length |post - pre| for each (stack, term): float64 [tasks + 1, layers], the merge last."""
    cosine: np.ndarray
    """Cosine of the merged change with each source's, [tasks], over all layers and terms as one vector."""
    kept: np.ndarray
    """Share, [tasks], of each source's change that the merge makes along it, merged . source / |source|^2; the
    whole change is 1, and so is a merge of one fine-tune with itself."""


def preview(snapshots: Sequence[Snapshot], merged: Snapshot) -> Preview:
    """Compare a merge with the snapshots that it was made of."""
    keys = merged.keys()
    moved = {key: changes([*snapshots, merged], key) for key in keys}
    rows = np.concatenate([change.reshape(len(change), -1) for change in moved.values()], axis=1)
    sources, total = rows[:-1], rows[-1]
    squares = (sources**2).sum(axis=1)
    return Preview(
        {key: np.linalg.norm(change, axis=2) for key, change in moved.items()},
        geometry(sources, np.broadcast_to(total, sources.shape))["cosine"],
        np.divide(sources @ total, squares, out=np.zeros(len(sources)), where=squares > 0),
    )
