"""Rows, texts each with the fine-tune that is to answer it, and the answers; without a model.

The fine-tunes are of one base model, and of as many tasks as one likes:
:func:`beft_core.inference.predict.predict_rows` answers all rows in passes that they share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from beft_core.errors import UserError
from beft_core.inference.answers import probabilities
from beft_core.inference.heads import own_task, reads_pairs, require_one_base
from beft_core.snapshots.snapshot import Snapshot


@dataclass(frozen=True)
class Rows:
    """Texts, or pairs of texts, each with its fine-tune."""

    snapshots: tuple[Snapshot, ...]
    tasks: tuple[str, ...]
    """Name of the task by whose head each snapshot answers."""
    of: tuple[int, ...]
    """Number of the snapshot that answers each row."""
    texts: tuple[str, ...]
    pairs: tuple[str | None, ...]
    """Second text of each row; None where it has none."""

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def checked(
        cls,
        snapshots: Sequence[Snapshot],
        texts: Sequence[str],
        of: Sequence[int],
        text_pairs: Sequence[str | None] | None = None,
        task: str | None = None,
    ) -> Rows:
        """Make rows of texts and the numbers of their snapshots.

        ``text_pairs``: the second text of each, None or empty where its task takes one text. ``task``: whose head
        answers; by default the one that a snapshot holds, or of several the one that it was trained on.

        Raises:
            UserError: snapshots of several base models, or one whose weights changed; one without such a head; another
                number of texts, pairs and numbers; or a text, or its lack, that does not suit the row's task.
        """
        if not snapshots:
            raise UserError("got no snapshot", "one or more")
        if not texts:
            raise UserError("got no text", "one sentence or more")
        require_one_base(snapshots)
        tasks = tuple(own_task(snapshot, task) for snapshot in snapshots)
        if len(of) != len(texts) or (text_pairs is not None and len(text_pairs) != len(texts)):
            lists = f"{len(of)} snapshots" + ("" if text_pairs is None else f" and {len(text_pairs)} second texts")
            raise UserError(f"got {lists} for {len(texts)} texts", "one of each for every text")
        wrong = next((number for number in of if not 0 <= number < len(snapshots)), None)
        if wrong is not None:
            raise UserError(f"got snapshot number {wrong}", f"0 to {len(snapshots) - 1}")
        pairs = tuple(pair or None for pair in text_pairs) if text_pairs is not None else (None,) * len(texts)
        wants = [reads_pairs(snapshot.meta, own) for snapshot, own in zip(snapshots, tasks, strict=True)]
        for row, (text, pair, number) in enumerate(zip(texts, pairs, of, strict=True), start=1):
            if not text.strip() or (pair is not None and not pair.strip()):
                raise UserError(f"row {row}: got an empty text", "a sentence", "one with a word in it")
            if wants[number] is not None and wants[number] != (pair is not None):
                got, expected = ("one text", "two texts") if wants[number] else ("two texts", "one text")
                asked = f"row {row}, which {snapshots[number].source} answers"
                raise UserError(f"{asked}: got {got} for {tasks[number]}", f"{expected}, as its head was trained")
        return cls(tuple(snapshots), tasks, tuple(of), tuple(texts), pairs)


@dataclass(frozen=True, eq=False)
class RowAnswer:
    """Answer to one row by its own fine-tune."""

    snapshot: int
    """Number of the fine-tune."""
    task: str
    labels: tuple[str, ...] | None
    """Names of the classes in the order of the logits; None: a number is predicted."""
    logits: np.ndarray
    """Logits, float32 [outputs of the task's head]; of a regression the value, of a prompt the candidates' scores."""

    @property
    def value(self) -> str | float:
        """Name of the most probable class; of a regression the value."""
        return float(self.logits[0]) if self.labels is None else self.labels[int(self.logits.argmax())]

    @property
    def probabilities(self) -> dict[str, float] | None:
        """Probability of each class, by name; None of a regression."""
        if self.labels is None:
            return None
        return dict(zip(self.labels, probabilities(self.logits).tolist(), strict=True))
