"""Predictions of a fine-tune for validation examples, which are known by keys that are made of their texts.

Two fine-tunes are compared on the examples whose keys both have, whatever model and tokenizer they used.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from beft_core.tasks.constant_answer import judged
from beft_core.tasks.examples import Examples
from beft_core.tasks.resamples import numbered

MISSING = -1e9
"""Score of a candidate that an example does not have: no softmax gives it any weight, and it is finite."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Outputs of one set of biases for the validation examples of one task."""

    task: str
    keys: np.ndarray
    """Keys of the examples, int64 [examples], all different."""
    labels: np.ndarray
    """Encoded labels, float64 [examples]."""
    logits: np.ndarray
    """Outputs of the head, float32 [examples, outputs]; of a regression the value."""
    sets: tuple[str, ...] = ()
    """Name of the validation set of each example; empty: there is one."""
    golds: tuple[tuple[int, ...], ...] | None = None
    """Numbers of all right candidates of each example, empty: the label alone; None: no example has several."""
    groups: np.ndarray | None = None
    """Number of the text that each example is about, int64 [examples]; None: each has its own, or a run of an earlier
    version did not say.
    """
    model: str = ""
    """Row of a merge's table that made them, such as ``merged``; empty: the run's own fine-tune."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def predicted(self) -> np.ndarray:
        """Number of the predicted class, or the value, float64 [examples]."""
        chosen = self.logits[:, 0] if self.logits.shape[1] == 1 else self.logits.argmax(axis=1)
        return chosen.astype(np.float64)

    @property
    def judged(self) -> np.ndarray:
        """Labels that predictions are compared with, float64 [examples]: of several right ones the predicted one."""
        return judged(self.predicted, self.labels, self.golds)

    @property
    def regression(self) -> bool:
        """Whether a number is predicted, and no class."""
        return self.logits.shape[1] == 1

    def take(self, positions: np.ndarray) -> Predictions:
        """Select examples, in that order."""
        sets = tuple(self.sets[at] for at in positions) if self.sets else ()
        golds = None if self.golds is None else tuple(self.golds[at] for at in positions)
        groups = None if self.groups is None else self.groups[positions]
        return Predictions(
            self.task,
            self.keys[positions],
            self.labels[positions],
            self.logits[positions],
            sets,
            golds,
            groups,
            self.model,
        )


def example_keys(examples: Examples) -> np.ndarray:
    """Make the key of each example, int64 [examples]: a hash of its texts, candidates and label, and of how many like
    it came before. Demonstrations before a prompt do not count: it is the same question with them and without.
    """
    seen: Counter[tuple[str, ...]] = Counter()
    keys = []
    for at, text in enumerate(examples.asked or examples.text):
        pair = () if examples.text_pair is None else (examples.text_pair[at],)
        # The label too: of two examples that read alike but for it, either may be among a few that were drawn.
        answers = () if examples.candidates is None else examples.candidates[at]
        content = (text, *pair, *answers, f"{float(examples.labels[at]):.6g}")
        digest = hashlib.blake2b(digest_size=8)
        for part in (*content, str(seen[content])):
            encoded = part.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        seen[content] += 1
        keys.append(int.from_bytes(digest.digest(), "little", signed=True))
    return np.array(keys, np.int64)


def predictions_of(task: str, sets: Sequence[tuple[str, Examples, np.ndarray]], model: str = "") -> Predictions:
    """Put the outputs for a task's validation sets together: (name of the set, its examples, logits) of each."""
    many = len(sets) > 1
    golds = tuple(right for _, examples, _ in sets for right in examples.golds or ())
    return Predictions(
        task,
        np.concatenate([example_keys(examples) for _, examples, _ in sets]),
        np.concatenate([examples.labels.astype(np.float64) for _, examples, _ in sets]),
        np.concatenate([logits.astype(np.float32) for _, _, logits in sets]),
        tuple(name for name, examples, _ in sets for _ in range(len(examples))) if many else (),
        golds if any(len(right) > 1 for right in golds) else None,
        _groups([examples for _, examples, _ in sets]),
        model,
    )


def _groups(several: Sequence[Examples]) -> np.ndarray | None:
    """Number the texts that the examples of several validation sets are about; None where each has its own."""
    if not several or any(one.groups is None for one in several):
        return None
    named = [(at, group) for at, one in enumerate(several) for group in one.groups or ()]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(named))}
    return numbered(np.array([numbers[name] for name in named], np.int64))
