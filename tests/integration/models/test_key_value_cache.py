"""Keys and values in their places: what a pass may look at, and rows that leave."""

from __future__ import annotations

import torch
from torch import Tensor

from beft_core.models.key_value_cache import KeyValueCache


def states(rows: int, tokens: int, value: float) -> Tensor:
    """Keys or values of two heads, three wide, which all have one value."""
    return torch.full((rows, 2, tokens, 3), value)


def of_rows(found: Tensor) -> list[list[float]]:
    """What the columns of each row hold, by the first head."""
    assert (found == found[:, :1, :, :1]).all()
    return found[:, 0, :, 0].tolist()


def test_prompts_end_in_one_column_and_tokens_follow() -> None:
    cache = KeyValueCache(layers=2, rows=3, columns=5, end=3)
    cache.read(0, 2)
    assert (cache.get_seq_length(), cache.get_mask_sizes(2, 1)) == (0, (2, 0))
    keys, values = cache.update(states(2, 2, 1.0), states(2, 2, -1.0), 0)
    assert of_rows(keys) == [[1, 1], [1, 1]] and of_rows(values) == [[-1, -1], [-1, -1]]
    cache.read(2, 3)
    cache.update(states(1, 3, 2.0), states(1, 3, -2.0), 0)
    cache.write()
    assert (cache.get_seq_length(), cache.get_mask_sizes(1, 1)) == (3, (4, 0))
    keys, values = cache.update(states(3, 1, 7.0), states(3, 1, -7.0), 0)
    assert of_rows(keys) == [[0, 1, 1, 7], [0, 1, 1, 7], [2, 2, 2, 7]]
    assert of_rows(values) == [[0, -1, -1, -7], [0, -1, -1, -7], [-2, -2, -2, -7]]
    assert not cache.layers[1].is_initialized  # room is taken when a layer is first computed


def test_the_last_rows_fill_the_places_of_those_that_end() -> None:
    cache = KeyValueCache(layers=1, rows=5, columns=3, end=1)
    cache.read(0, 5)
    cache.update(torch.arange(5.0)[:, None, None, None].expand(5, 2, 1, 3), states(5, 1, 0.0), 0)
    assert cache.keep([0, 2, 4]) == [0, 4, 2]
    cache.write()
    keys, _ = cache.update(states(3, 1, 9.0), states(3, 1, 9.0), 0)
    assert of_rows(keys) == [[0, 9], [4, 9], [2, 9]]
    assert cache.keep([0, 1]) == [0, 1]  # the last one ends: nothing moves
    cache.write()
    keys, _ = cache.update(states(2, 1, 8.0), states(2, 1, 8.0), 0)
    assert of_rows(keys) == [[0, 9, 8], [4, 9, 8]]
