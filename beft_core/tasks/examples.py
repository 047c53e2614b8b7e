"""Examples of a task, wherever they come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from beft_core.errors import UserError
from beft_core.tasks.spec import TaskSpec


@dataclass(frozen=True)
class Examples:
    """Texts with their labels."""

    text: list[str]
    text_pair: list[str] | None
    """Second texts, for tasks on pairs; None for others."""
    labels: np.ndarray
    """Encoded labels [examples]; see :mod:`beft_core.tasks.targets`."""
    candidates: list[tuple[str, ...]] | None = None
    """Continuations of each prompt, with the space that belongs to them, any number per example; of free text the one
    answer to train on, with its ending. None, here and below: the texts are no prompts.
    """
    golds: list[tuple[int, ...]] | None = None
    """Numbers of the right candidates of each prompt, the label first; ReCoRD has several."""
    answers: list[tuple[str, ...]] | None = None
    """Right answers of each prompt in free text; None where candidates are chosen from. One of several spans (DROP)
    has them in lines of their own.
    """
    asked: list[str] | None = None
    """Prompts without the demonstrations before them, by which examples are known; None: ``text`` has none."""
    groups: list[int] | None = None
    """Number of the text that each example is about, such as a passage with several questions; None: each has its
    own.
    """

    def __post_init__(self) -> None:
        pairs = len(self.text) if self.text_pair is None else len(self.text_pair)
        if not len(self.text) == pairs == len(self.labels):
            raise ValueError(f"{len(self.text)} texts, {pairs} second texts, {len(self.labels)} labels")
        for name in ("candidates", "golds", "answers", "asked", "groups"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self.text):
                raise ValueError(f"{len(self.text)} texts, {len(column)} {name}")

    def __len__(self) -> int:
        return len(self.text)

    def take(self, order: Sequence[int] | np.ndarray) -> Examples:
        """Select the examples at the positions ``order``."""
        index = np.asarray(order, dtype=np.int64)
        pair, candidates, golds, answers, asked, groups = (
            None if column is None else [column[i] for i in index]
            for column in (self.text_pair, self.candidates, self.golds, self.answers, self.asked, self.groups)
        )
        texts = [self.text[i] for i in index]
        return Examples(texts, pair, self.labels[index], candidates, golds, answers, asked, groups)


def head_examples(spec: TaskSpec, text: list[str], text_pair: list[str] | None, labels: np.ndarray) -> Examples:
    """Make the examples of a task that a head answers, with the number of the text that each is about."""
    about = {spec.text: text, spec.text_pair: text_pair}.get(spec.about)
    numbers: dict[str, int] = {}
    groups = None if about is None else [numbers.setdefault(one, len(numbers)) for one in about]
    return Examples(text, text_pair, labels, groups=groups)


HELD_OUT = "held out of training"
"""Name of the validation set that :meth:`TaskData.held_out` makes."""
_HOLD_OUT_SEED = 20250915
"""Seed of that split, which no fine-tune's own draw has."""


@dataclass(frozen=True)
class TaskData:
    """Task with its examples."""

    spec: TaskSpec
    train: Examples
    evals: dict[str, Examples]
    """Validation sets; only MNLI has two."""
    source: str
    """Origin of the examples, in words."""

    def limited(self, n_eval: int | None) -> TaskData:
        """Keep at most ``n_eval`` examples of each validation set: the first of a permutation that is always the same.

        ``None``: all, in their order.
        """
        if n_eval is None:
            return self
        evals = {name: subsample(part, min(n_eval, len(part)), seed=0) for name, part in self.evals.items()}
        return replace(self, evals=evals)

    def held_out(self, count: int | None) -> TaskData:
        """Set ``count`` training examples aside as the only validation set: the first of a permutation that is always
        the same, whatever the seed of a fine-tune. The others stay for training, in their order.

        Examples that are about one text (``groups``) go together, and what is left of the last text is on neither side.

        ``None``, and a task that is split so already: no change. Raises UserError where fewer than two would stay.
        """
        if count is None or list(self.evals) == [HELD_OUT]:
            return self
        if count > len(self.train) - 2:
            most = max(0, len(self.train) - 2)
            raise UserError(f"got {count:,} training examples to set aside", f"at most {most:,} of {len(self.train):,}")
        order = np.random.default_rng([_HOLD_OUT_SEED, 0]).permutation(len(self.train))
        kept = np.sort(order[count:])
        if self.train.groups is not None:
            order = _by_group(order, np.asarray(self.train.groups))
            seen = np.asarray(self.train.groups)[order[:count]]
            kept = np.flatnonzero(~np.isin(self.train.groups, seen))
            if len(kept) < 2:
                texts = len(set(self.train.groups))
                raise UserError(
                    f"got {count:,} training examples to set aside, with which {len(kept)} stay to train on",
                    f"fewer: all that are about one of the {texts:,} texts stay on one side",
                )
        return replace(self, train=self.train.take(kept), evals={HELD_OUT: self.train.take(order[:count])})

    def in_words(self, train: Iterable[int]) -> str:
        """Say what a fine-tune is about to learn, from how many rows, in one line.

        ``train``: how many training examples are drawn, of each run.
        """
        classes = self.spec.target.classes
        what = self.spec.target.kind + (f", {classes} classes" if classes is not None else "")
        drawn = " or ".join(f"{n:,}" for n in sorted(set(train)))
        return f"{what}, {drawn} train / {sum(map(len, self.evals.values())):,} validation rows of {self.spec.title}"


def _by_group(order: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Move the examples of a group to its first one: int64 [examples]. ``groups``: the group of each example."""
    own = groups[order]
    _, first, number = np.unique(own, return_index=True, return_inverse=True)
    return order[np.argsort(first[number], kind="stable")]


def subsample(examples: Examples, n: int | None, seed: int, sampler: str = "generator") -> Examples:
    """Draw ``n`` examples: those at the positions that :func:`draw` gives."""
    return examples if n is None else examples.take(draw(examples, n, seed, sampler))


def draw(examples: Examples, n: int | None, seed: int, sampler: str = "generator") -> np.ndarray:
    """Draw the positions of ``n`` examples: the first of a permutation by the seed; for ``None`` all of them, in order.

    ``sampler``: a key of :data:`beft_core.presets.SAMPLERS`. Raises UserError when there are fewer than ``n``,
    or for a seed that the sampler cannot take.
    """
    if n is None:
        return np.arange(len(examples))
    if n > len(examples):
        raise UserError(f"got --n-train {n}", f"at most {len(examples)}, the examples that there are", "--regime all")
    if sampler == "randomstate":
        if seed >= 2**32:
            raise UserError(f"got --seed {seed}", "below 2**32 with --sampler randomstate", "--sampler generator")
        order = np.random.RandomState(seed).permutation(len(examples))
    else:
        order = np.random.default_rng([seed, 0]).permutation(len(examples))
    return order[:n]
