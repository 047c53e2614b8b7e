"""Whose elements a Fisher average takes: the mean share of the second of two snapshots, before and after.

    BEFT_GLUE_DIR=... python tests/benchmarks/bench_fisher_merge.py FIRST.beft.safetensors SECOND.beft.safetensors

Before: information from before the fine-tune, under a random head, in the units of each loss. After: at the fine-tuned
models, as it comes and with each task's norm set to 1. 50 % is an even share.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Literal

import numpy as np

from beft_core.merging.methods import METHODS
from beft_core.merging.shared_terms import shared_keys
from beft_core.snapshots.snapshot import Snapshot, read_snapshot
from beft_core.training.fisher.of_snapshots import with_tuned_fisher


def information(snapshots: Sequence[Snapshot], variant: Literal["exact", "tuned"]) -> np.ndarray | None:
    """float64 [2, elements] of all terms that both trained; None where a snapshot lacks it."""
    arrays = [[s.fisher(*key, variant) for key in shared_keys(snapshots)] for s in snapshots]
    if any(array is None for row in arrays for array in row):
        return None
    return np.array([np.concatenate([np.ravel(array) for array in row]) for row in arrays], np.float64)


def main() -> None:
    """Print three shares."""
    snapshots = with_tuned_fisher([read_snapshot(file) for file in sys.argv[1:3]])
    before, after = information(snapshots, "exact"), information(snapshots, "tuned")
    assert after is not None
    for name, found in (("before, as it comes", before), ("after, as it comes", after)):
        if found is not None:
            total = found.sum(axis=0)
            print(f"{name:20} {(found[1][total > 0] / total[total > 0]).mean():.3f}")
    of_second = np.array([np.zeros(after.shape[1]), np.ones(after.shape[1])])  # its average is the second one's share
    print(f"{'after, of norm 1':20} {METHODS['fisher'].function(of_second, after)[after.sum(axis=0) > 0].mean():.3f}")


if __name__ == "__main__":
    main()
