"""Tokenised examples, and the one table of tokens in which all of them stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beft_core.tasks.examples import Examples
from beft_core.training.batches.answers import AnswerTokens
from beft_core.training.batches.run_index import to_device
from beft_core.training.observer import Observer


class Tokens:
    """Tokens of many examples, one after another; a copy on a device is made once."""

    def __init__(
        self,
        ids: np.ndarray,
        types: np.ndarray | None,
        tree: np.ndarray | None = None,
        answers: AnswerTokens | None = None,
    ) -> None:
        """Keep ``ids``, int32 [tokens], and ``types``, int32 [tokens] (first or second text; None without them).

        Of prompted examples also ``tree``, int32 [2, tokens]: the branch of each token (0: the prompt, seen by all
        branches) and its position on its path; and ``answers``, the tokens that are to be predicted.
        """
        self.ids, self.types, self.tree, self.answers = ids, types, tree, answers
        self._on: dict[torch.device, tuple[Tensor, Tensor | None]] = {}

    def on(self, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Copy ids and types to ``device``, once: int32 [tokens] each, types None where there are none."""
        if device not in self._on:
            types = None if self.types is None else to_device(self.types, device)
            self._on[device] = to_device(self.ids, device), types
        return self._on[device]


@dataclass(frozen=True)
class Writing:
    """Rule by which an answer in free text ends."""

    max_new_tokens: int
    """Most tokens that are written."""
    ending: str
    """Text at which it ends."""

    def is_last(self, token: int, tokenizer: Any) -> bool:
        """Say whether an answer ends with a token: the tokenizer's end of a text, or one whose text holds the ending.

        That an answer is as long as it may be is seen by who counts its tokens.
        """
        return bool(token == tokenizer.eos_token_id) or self.ending in tokenizer.decode([token])

    def text_of(self, tokens: Sequence[int], tokenizer: Any) -> str:
        """Write an answer's tokens as text: without the ending, without white space around it."""
        text: str = tokenizer.decode(tokens, skip_special_tokens=True)
        return text.partition(self.ending)[0].strip()


@dataclass(frozen=True)
class Encoded:
    """Tokenised examples."""

    tokens: Tokens
    """Tokens of these examples, and maybe of others."""
    start: np.ndarray
    """Position at which each example begins among the tokens, int64 [examples]."""
    lengths: np.ndarray
    """Number of tokens of each example, int64 [examples]."""
    labels: np.ndarray
    """Labels, int64 classes or float32 values, [examples]."""
    answers: np.ndarray | None = None
    """Where the answer tokens of each example begin among those of the table, and how many they are, int64
    [examples, 2]; None where a head is trained that reads vectors of examples.
    """
    source: Examples | None = None
    """Examples that these were made of, where there is more to say of what is right than the labels."""
    writing: Writing | None = None
    """Rule of answers that the model writes after these examples, which are prompts; None: nothing is written."""

    @classmethod
    def of(cls, ids: Sequence[np.ndarray], types: Sequence[np.ndarray] | None, labels: np.ndarray) -> Encoded:
        """Put examples together from token ids, ``types`` of the same lengths where there are any, and labels.

        ``ids``: integers [tokens] per example; ``labels``: [examples].
        """
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        made = [None if rows is None else np.concatenate([*rows, ()]).astype(np.int32) for rows in (ids, types)]
        return cls(Tokens(*made), np.cumsum(lengths) - lengths, lengths, labels)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def branches(self) -> bool:
        """Whether some example is a tree, in which several answers of more than one token follow a prompt."""
        return self.tokens.tree is not None and bool(self.tokens.tree[0].any())

    @property
    def most_candidates(self) -> int:
        """Largest number of candidates of a prompted example; 0 where examples are not prompted."""
        return 0 if self.tokens.answers is None else self.tokens.answers.most

    @property
    def ids(self) -> list[np.ndarray]:
        """Token ids of each example, int64."""
        rows = zip(self.start, self.lengths, strict=True)
        return [self.tokens.ids[start : start + length].astype(np.int64) for start, length in rows]

    def take(self, order: Sequence[int] | np.ndarray) -> Encoded:
        """Select the examples at ``order`` [n], in that order; the tokens are not copied."""
        order = np.asarray(order, dtype=np.int64)
        answers = None if self.answers is None else self.answers[order]
        source = None if self.source is None else self.source.take(order)
        start, lengths, labels = self.start[order], self.lengths[order], self.labels[order]
        return Encoded(self.tokens, start, lengths, labels, answers, source, self.writing)


def over_one_table(sets: Sequence[Encoded]) -> list[Encoded]:
    """Put the tokens of several sets side by side, so that examples of different sets can stand in one pass.

    Returns the same examples, all over one table of tokens; but sets of different kinds never stand in one pass, such
    as prompts with their answers and prompts after which a model writes: there is a table for each kind.
    """
    kinds: dict[tuple[bool, ...], list[int]] = {}
    for at, one in enumerate(sets):
        parts = (one.tokens.types, one.tokens.tree, one.tokens.answers)
        kinds.setdefault(tuple(part is not None for part in parts), []).append(at)
    made = list(sets)
    for positions in kinds.values():
        for at, one in zip(positions, _over_one_table([sets[at] for at in positions]), strict=True):
            made[at] = one
    return made


def _over_one_table(sets: Sequence[Encoded]) -> list[Encoded]:
    """Put the tokens of sets of one kind side by side."""
    tables = list({id(one.tokens): one.tokens for one in sets}.values())
    if len(tables) < 2:
        return list(sets)
    first = {id(table): at for table, at in zip(tables, _before([len(table.ids) for table in tables]), strict=True)}
    types = [table.types for table in tables if table.types is not None]
    trees = [table.tree for table in tables if table.tree is not None]
    answers = [table.answers for table in tables if table.answers is not None]
    both = Tokens(
        np.concatenate([table.ids for table in tables]),
        np.concatenate(types) if types else None,
        np.concatenate(trees, axis=1) if trees else None,
        AnswerTokens.join(answers) if answers else None,
    )
    counts = [len(table.answers.ids) if table.answers else 0 for table in tables]
    shift = {id(table): np.array([at, 0]) for table, at in zip(tables, _before(counts), strict=True)}
    return [
        replace(
            one,
            tokens=both,
            start=one.start + first[id(one.tokens)],
            answers=None if one.answers is None else one.answers + shift[id(one.tokens)],
        )
        for one in sets
    ]


def _before(sizes: Sequence[int]) -> np.ndarray:
    """Sum up the sizes of all that come before each."""
    return np.cumsum(sizes) - sizes


def join(parts: Sequence[Encoded]) -> Encoded:
    """Join the examples of all parts, whose tokens must be one table (see :func:`over_one_table`)."""
    assert len({id(part.tokens) for part in parts}) == 1
    start, lengths, labels = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("start", "lengths", "labels")
    )
    answers = [part.answers for part in parts if part.answers is not None]
    return Encoded(parts[0].tokens, start, lengths, labels, np.concatenate(answers) if answers else None)


def encode(tokenizer: Any, examples: Examples, max_length: int, observer: Observer | None = None) -> Encoded:
    """Tokenise texts, cutting each example to ``max_length`` tokens (the longer text of a pair is cut first).

    ``observer`` hears of each example that is done.
    """
    ids: list[np.ndarray] = []
    types: list[np.ndarray] = []
    chunk = 1000
    for start in range(0, len(examples), chunk):
        stop = min(start + chunk, len(examples))
        pair = None if examples.text_pair is None else examples.text_pair[start:stop]
        out = tokenizer(examples.text[start:stop], pair, truncation=True, max_length=max_length)
        ids.extend(np.asarray(row, dtype=np.int32) for row in out["input_ids"])
        types.extend(np.asarray(row, dtype=np.int32) for row in out.get("token_type_ids", ()))
        if observer is not None:
            observer.advance(stop - start)
    return Encoded.of(ids, types or None, examples.labels)
