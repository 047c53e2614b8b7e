"""Keys and values of a batch of prompts and of what is written after them, in room that is taken once.

transformers' own cache grows by copying itself at every token: of the time of a batched answer on a CPU that is a
quarter. Here a token's keys and values are written into their place. Prompts stand at the right of the room's first
columns, so that all end in one column however long they are; they are read a few of like length at a time, and answers
are written for all together. An answer that ends leaves its row to the last one, which is the only row that is copied.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from beft_core.models.biases import LoadedModel


def with_cache(model: LoadedModel, positions: Tensor, cache: Cache) -> dict[str, Any]:
    """List what a model takes beside its tokens while it writes: their positions from 0, [rows, tokens], if its
    architecture asks for them, and the keys and values of the tokens before.
    """
    named = inspect.signature(model.backbone.forward).parameters
    given: dict[str, Any] = (
        {"position_ids": positions + model.layout.position_offset} if "position_ids" in named else {}
    )
    return given | {"cache" if "cache" in named else "past_key_values": cache}  # its name in earlier releases


class KeyValueCache(Cache):
    """Cache of ``rows`` texts of at most ``columns`` tokens, whose prompts end before the column ``end``."""

    def __init__(self, layers: int, rows: int, columns: int, end: int) -> None:
        """Take no room yet: each layer does when its first keys come, whose heads and width it then knows."""
        super().__init__(layers=[_Layer(self) for _ in range(layers)])
        self.rows, self.columns, self.end = rows, columns, end
        self.reading: slice | None = None
        """Rows whose prompts are read in the coming pass; None: a token is added to every row."""

    def read(self, first: int, after: int) -> None:
        """Let the coming pass read the prompts of the rows from ``first`` until before ``after``."""
        self.reading = slice(first, after)

    def write(self) -> None:
        """Let the coming pass add one token to every row."""
        self.reading = None
        self.end += 1

    def keep(self, going: list[int]) -> list[int]:
        """Keep some rows, and return which row each of the rows is from now on: the last fill the places of others."""
        kept = set(going)
        holes = [row for row in range(len(going)) if row not in kept]
        moved = [row for row in going if row >= len(going)]
        order = list(range(len(going)))
        for hole, row in zip(holes, moved, strict=True):
            order[hole] = row
        for layer in self.layers:
            assert isinstance(layer, _Layer)
            layer.move(moved, holes)
        self.rows = len(going)
        return order


class _Layer(DynamicLayer):
    """Keys and values of one layer, [rows, heads, columns, width] each."""

    def __init__(self, cache: KeyValueCache) -> None:
        super().__init__()
        self._cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Take the room. Zeros, because what stands left of a short prompt is multiplied by a weight of zero."""
        self.device = key_states.device
        self.keys, self.values = (
            one.new_zeros(self._cache.rows, one.shape[1], self._cache.columns, one.shape[3])
            for one in (key_states, value_states)
        )
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write keys and values into their place, and return all that the tokens of this pass may look at."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        keys, values = self._room()
        cache, end = self._cache, self._cache.end
        rows = cache.reading or slice(0, cache.rows)
        begin = end - key_states.shape[2]
        keys[rows, :, begin:end] = key_states
        values[rows, :, begin:end] = value_states
        if cache.reading is not None:
            return key_states, value_states
        return keys[rows, :, :end], values[rows, :, :end]

    def get_seq_length(self) -> int:
        """Count the tokens before those of the coming pass: masks and positions are made of it."""
        return 0 if self._cache.reading is not None else self._cache.end - 1

    def move(self, rows: list[int], to: list[int]) -> None:
        """Copy rows into the places of others."""
        if rows:
            keys, values = self._room()
            where = torch.tensor(rows, device=keys.device)
            keys[to], values[to] = keys[where], values[where]

    def _room(self) -> tuple[Tensor, Tensor]:
        """Give the keys and values of all rows and columns, for which room was taken."""
        assert self.keys is not None and self.values is not None
        return self.keys, self.values
