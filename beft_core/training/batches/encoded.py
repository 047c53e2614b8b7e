"""Tokenised examples, and the one table of tokens in which all of them stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beft_core.tasks.examples import Examples
from beft_core.training.batches.run_index import to_device
from beft_core.training.observer import Observer


class Tokens:
    """Tokens of many examples, one after another; a copy on a device is made once."""

    def __init__(self, ids: np.ndarray, types: np.ndarray | None) -> None:
        """Keep ``ids``, int32 [tokens], and ``types``, int32 [tokens] (first or second text; None without them)."""
        self.ids, self.types = ids, types
        self._on: dict[torch.device, tuple[Tensor, Tensor | None]] = {}

    def on(self, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Copy ids and types to ``device``, once: int32 [tokens] each, types None where there are none."""
        if device not in self._on:
            types = None if self.types is None else to_device(self.types, device)
            self._on[device] = to_device(self.ids, device), types
        return self._on[device]


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
    def ids(self) -> list[np.ndarray]:
        """Token ids of each example, int64."""
        rows = zip(self.start, self.lengths, strict=True)
        return [self.tokens.ids[start : start + length].astype(np.int64) for start, length in rows]

    def take(self, order: Sequence[int] | np.ndarray) -> Encoded:
        """Select the examples at ``order`` [n], in that order; the tokens are not copied."""
        order = np.asarray(order, dtype=np.int64)
        return Encoded(self.tokens, self.start[order], self.lengths[order], self.labels[order])


def over_one_table(sets: Sequence[Encoded]) -> list[Encoded]:
    """Put the tokens of several sets side by side, so that examples of different sets can stand in one pass.

    Returns the same examples, all over one table of tokens.
    """
    tables = list({id(one.tokens): one.tokens for one in sets}.values())
    if len(tables) < 2:
        return list(sets)
    ends = np.cumsum([len(table.ids) for table in tables])
    before = {id(table): end - len(table.ids) for table, end in zip(tables, ends, strict=True)}
    types = [table.types for table in tables if table.types is not None]
    assert len(types) in (0, len(tables))
    both = Tokens(np.concatenate([table.ids for table in tables]), np.concatenate(types) if types else None)
    return [Encoded(both, one.start + before[id(one.tokens)], one.lengths, one.labels) for one in sets]


def join(parts: Sequence[Encoded]) -> Encoded:
    """Join the examples of all parts, whose tokens must be one table (see :func:`over_one_table`)."""
    assert len({id(part.tokens) for part in parts}) == 1
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("start", "lengths", "labels"))
    return Encoded(parts[0].tokens, *columns)


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
