"""Check that a snapshot is all that its fine-tune changed."""

from __future__ import annotations

from beft_core.errors import UserError
from beft_core.methods import method_of
from beft_core.snapshots.snapshot import Snapshot


def refuse_changed_weights(snapshot: Snapshot) -> None:
    """Refuse a snapshot whose biases are not all that the fine-tune changed.

    Raises:
        UserError: its weights changed too, and no snapshot holds those.
    """
    if method_of(snapshot.meta.mode).adapter is not None:
        raise UserError(
            f"got a snapshot of mode {snapshot.meta.mode}, whose result is the adapter beside it",
            "one of a fine-tune of biases",
            "beft evaluate, which scores the two together, or beft export --merged, which makes them one model",
        )
    if method_of(snapshot.meta.mode).beyond_biases:
        raise UserError(
            f"got a snapshot of mode {snapshot.meta.mode}, whose weights changed too",
            "one of a fine-tune of biases, since a snapshot holds nothing else",
        )
