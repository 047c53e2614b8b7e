"""Terms that several fine-tunes of one base share, and what each of them changed in these; numpy only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from beft_core.errors import UserError
from beft_core.snapshots.meta import of_two_bases
from beft_core.snapshots.snapshot import Key, Snapshot


def shared_keys(snapshots: Sequence[Snapshot], terms: Iterable[str] | None = None) -> list[Key]:
    """Keys (stack, term) of the trained terms that all snapshots share, which must be of one base.

    Raises:
        UserError: another base, other trained terms or layers, or a term out of `terms` that was not trained.
    """
    first = snapshots[0]
    wanted = set(terms) if terms is not None else None
    keys = trained_keys(first, wanted)
    if two := of_two_bases([snapshot.meta.model for snapshot in snapshots]):
        one, other = (snapshots[number] for number in two)
        ids = f"{one.meta.model.id} and {other.meta.model.id}"
        raise UserError(f"different base models ({one.source} and {other.source}: {ids})", "fine-tunes of one base")
    if idle := next((snapshot for snapshot in snapshots if not snapshot.meta.trained_terms), None):
        raise UserError(
            f"got {idle.source}, which trained no bias term", "fine-tunes of one or more", "beft train --terms v"
        )
    for snapshot in snapshots:
        names = f"{first.source} and {snapshot.source}"
        if trained_keys(snapshot, wanted) != keys:
            either = [[term for _, term in trained_keys(s, wanted)] for s in (first, snapshot)]
            shared = [term for term in either[0] if term in either[1]]
            both = [", ".join(terms) or "none" for terms in either]
            raise UserError(
                f"different trained terms ({names}: {both[0]} and {both[1]})",
                "the same",
                f"--terms {' '.join(shared)}" if shared else "",
            )
        if snapshot.meta.layers != first.meta.layers:
            raise UserError(f"different trained layers ({names})", "the same layers")
        for key in keys:
            if not np.array_equal(snapshot.pre(*key), first.pre(*key)):
                raise UserError(f"different {'.'.join(key)} before the fine-tune ({names})", "one base")
    missing = (wanted or set()) - {term for _, term in keys}
    if missing or not keys:
        lacking = ", ".join(sorted(missing)) or "terms"
        raise UserError(f"no trained {lacking} in {first.source}", f"one of {', '.join(first.meta.trained_terms)}")
    return keys


def trained_keys(snapshot: Snapshot, wanted: set[str] | None) -> list[Key]:
    return [
        (stack, term)
        for stack, term in snapshot.keys()  # noqa: SIM118 - a method of Snapshot, not of a dict
        if term in snapshot.meta.trained_terms and (wanted is None or term in wanted)
    ]


def changes(snapshots: Sequence[Snapshot], key: Key) -> np.ndarray:
    """Changes ``post - pre`` of one term, float64 [tasks, layers, width]."""
    return np.stack([np.subtract(s.post(*key), s.pre(*key), dtype=np.float64) for s in snapshots])
