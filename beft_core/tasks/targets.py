"""Targets, the kinds of labels: one of named classes, a number, one of an example's candidates, or free text. All that
can be said of them without a model is here.

How a model learns such labels is an objective (:mod:`beft_core.training.objectives.base`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import numpy as np


class Target(ABC):
    """Kind of label: how it is read, stored and shown."""

    kind: ClassVar[str]
    """Name of the kind, one of :data:`beft_core.snapshots.meta.HEAD_KINDS`: what a snapshot says of a head that
    predicts it. Also the key of the objective that a task of such labels has unless it names another.
    """
    dtype: ClassVar[type[np.generic]]
    """Type of an array of encoded labels."""
    labels: tuple[str, ...] | None = None
    """Names of the classes in the order of their numbers; None where there are none."""
    expected: str
    """Description of what a label must be."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Number of values that a head computes for one example."""

    @property
    def classes(self) -> int | None:
        """Number of classes; None where a label is no class."""
        return None if self.labels is None else len(self.labels)

    @abstractmethod
    def read(self, text: str) -> float:
        """Encode a label as it stands in a file. Raises ValueError for anything else."""

    @abstractmethod
    def show(self, value: float) -> str:
        """Write an encoded label as people do."""

    def encode(self, values: Sequence[float]) -> np.ndarray:
        """Make the array [examples] of labels that :meth:`read` returned."""
        return np.array(values, dtype=self.dtype)

    def count(self, encoded: np.ndarray) -> tuple[tuple[str, int], ...] | None:
        """Count the examples of each class, also of those that do not occur; None where a label is no class."""
        return None


class Classes(Target):
    """Target that is one of several classes, encoded as its number."""

    kind = "classification"
    dtype = np.int64

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.names = labels
        self.expected = f"one of {', '.join(labels)}, or its number"
        self._numbers = {str(i): i for i in range(len(labels))} | {name: i for i, name in enumerate(labels)}

    @property
    def outputs(self) -> int:
        return len(self.names)

    def read(self, text: str) -> float:
        if text not in self._numbers:
            raise ValueError(text)
        return self._numbers[text]

    def show(self, value: float) -> str:
        return self.names[int(value)]

    def count(self, encoded: np.ndarray) -> tuple[tuple[str, int], ...]:
        found = Counter(encoded.tolist())
        return tuple((name, found[i]) for i, name in enumerate(self.names))


class Number(Target):
    """Target that is a finite number."""

    kind = "regression"
    dtype = np.float32
    expected = "a number"

    @property
    def outputs(self) -> int:
        return 1

    def read(self, text: str) -> float:
        number = float(text)
        if not np.isfinite(number):
            raise ValueError(text)
        return number

    def show(self, value: float) -> str:
        return f"{value:g}"


class Choice(Target):
    """Target that is one of the candidates of an example, encoded as its number among them."""

    kind = "choice"
    dtype = np.int64
    expected = "the number of a candidate, from 0"

    @property
    def outputs(self) -> int:
        return 0  # no head: a language model scores candidates, whose number differs from example to example

    def read(self, text: str) -> float:
        if not (text.isascii() and text.isdigit()):
            raise ValueError(text)
        return int(text)

    def show(self, value: float) -> str:
        return f"candidate {int(value) + 1}"


class FreeText(Target):
    """Target that is a text; an encoded label is 0, and what is right stands with the example."""

    kind = "text"
    dtype = np.int64
    expected = "0"

    @property
    def outputs(self) -> int:
        return 0  # no head: a language model writes the answer

    def read(self, text: str) -> float:
        if text != "0":
            raise ValueError(text)
        return 0

    def show(self, value: float) -> str:
        return "free text"


def target_of(labels: tuple[str, ...] | None, kind: str = "regression") -> Target:
    """Give the target of a task by the names of its classes, or where there are none by the kind of its labels."""
    if labels is not None:
        return Classes(labels)
    return {target.kind: target for target in (Number, Choice, FreeText)}[kind]()
