"""What a sweep keeps besides rows."""

from __future__ import annotations

from beft_core.sweeps.sharing.kept import Kept


def test_a_sweep_that_was_told_nothing_keeps_snapshots_alone() -> None:
    assert Kept() == Kept(snapshots=True, predictions=False, refusals=False)
