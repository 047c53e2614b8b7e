"""Plan of which examples of one optimizer step stand in which row, so that as little padding as possible is computed.

A pass costs a fixed time plus a time per token, padding included (on two CPU cores and a 6-layer model: about 20 ms
plus .35 ms). Packing puts several short examples into one row as wide as the longest example. Where an architecture
does not allow it, two micro-batches by length save part of the padding. The losses add up to the same update.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PASS_COST_IN_TOKENS = 57
"""Cost of one more forward and backward pass, in tokens: 20 ms over .35 ms per token (see above)."""


@dataclass(frozen=True)
class PassPlan:
    """Plan of one forward pass: which examples stand in which row, and how wide the rows are."""

    examples: np.ndarray
    """Positions of the examples in the batch, row after row, int64 [examples]."""
    sizes: np.ndarray
    """Number of examples of each row, at least one, int64 [rows]."""
    width: int

    @classmethod
    def one_each(cls, examples: np.ndarray, width: int) -> PassPlan:
        """Give each of the examples at these positions a row of its own."""
        return cls(examples, np.ones(len(examples), np.int64), width)

    @property
    def tokens(self) -> int:
        """Number of computed tokens, padding included."""
        return len(self.sizes) * self.width


def plan(lengths: np.ndarray, runs: np.ndarray, pad: str, max_length: int, *, rounded: bool = False) -> list[PassPlan]:
    """Lay examples out in rows, and rows in passes.

    ``lengths``, ``runs`` int64 [examples]: tokens and run of each; a row never holds examples of two runs. ``pad``:
    ``packed``, ``buckets``, ``longest`` or ``max``. ``rounded``: rows are a multiple of 8 tokens wide, so that fewer
    shapes occur.
    """
    longest = int(lengths.max())
    if rounded:
        longest = -(-longest // 8) * 8
    if pad == "packed":
        examples, row_of = _first_fit(lengths, runs, longest)
        tokens = np.bincount(row_of, lengths[examples])
        return [PassPlan(examples, np.bincount(row_of), longest if rounded else int(tokens.max()))]
    if pad == "buckets":
        return _buckets(lengths.tolist())
    return [PassPlan.one_each(np.arange(len(lengths)), max(max_length if pad == "max" else 0, longest))]


def rounded_rows(rows: int) -> int:
    """Round a number of rows up to one of 16 numbers between two powers of two, so that fewer shapes occur."""
    step = 1 << max(0, rows.bit_length() - 5)
    return -(-rows // step) * step


def _first_fit(lengths: np.ndarray, runs: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pack the examples of each run into rows by first-fit decreasing; ties by position, so that the layout is the same
    every time.

    All runs are packed side by side: each example in its turn takes the first row of its run that has room for it.
    Returns (the examples, row after row; the row of each), int64 [examples].
    """
    order = np.lexsort((-lengths, runs))
    counts = np.bincount(runs)
    run = runs[order]
    turn = np.arange(len(order)) - (np.cumsum(counts) - counts)[run]
    size = np.zeros((len(counts), counts.max()), np.int64)  # of the example of each run and turn; 0: there is none
    size[run, turn] = lengths[order]
    room = np.full_like(size, width)
    row = np.empty_like(size)
    everyone = np.arange(len(counts))
    for number, wanted in enumerate(size.T):
        # Of the first n + 1 rows, n examples have left at least one empty.
        first = (room[:, : number + 1] >= wanted[:, None]).argmax(axis=1)
        row[:, number] = first
        room[everyone, first] -= wanted
    rows = (room < width).sum(axis=1)
    row_of = row[run, turn] + (np.cumsum(rows) - rows)[run]
    by_row = np.argsort(row_of, kind="stable")
    return order[by_row], row_of[by_row]


def _buckets(lengths: Sequence[int]) -> list[PassPlan]:
    """Plan one or two micro-batches by length, whichever is estimated to be faster."""
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    n = len(order)
    cost = {0: n * lengths[order[-1]]}
    for cut in range(1, n):
        cost[cut] = cut * lengths[order[cut - 1]] + (n - cut) * lengths[order[-1]] + PASS_COST_IN_TOKENS
    best = min(cost, key=lambda cut: (cost[cut], cut))
    groups = [order] if best == 0 else [order[:best], order[best:]]
    return [PassPlan.one_each(np.sort(group), max(lengths[i] for i in group)) for group in groups]


def by_length(lengths: np.ndarray, tokens: int, most: int | None = None) -> list[np.ndarray]:
    """Split examples into groups of similar length: at most ``tokens`` computed tokens and ``most`` examples each."""
    order = np.argsort(lengths, kind="stable")
    groups: list[list[int]] = [[]]
    for i in order:
        size = len(groups[-1])
        if size and ((size + 1) * lengths[i] > tokens or size == most):
            groups.append([])
        groups[-1].append(int(i))
    return [np.array(group) for group in groups]


def cheapest_by_length(lengths: np.ndarray, tokens: int) -> list[np.ndarray]:
    """Split examples as :func:`by_length`, so that padding and passes together cost least.

    Full groups of a few dozen examples are a third padding; where a pass costs little, several narrower ones cost less.
    """
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order].astype(np.int64)
    cost = np.zeros(len(order) + 1, np.int64)  # of the best split of the shortest examples, by how many these are
    begin = np.zeros(len(order) + 1, np.int64)  # of its last group
    for end in range(1, len(order) + 1):
        longest = ordered[end - 1]
        first = end - max(1, min(end, tokens // longest))
        costs = cost[first:end] + longest * np.arange(end - first, 0, -1)
        best = int(costs.argmin())
        cost[end], begin[end] = costs[best] + PASS_COST_IN_TOKENS, first + best
    groups, end = [], len(order)
    while end:
        groups.append(order[begin[end] : end])
        end = int(begin[end])
    return groups[::-1] or [order]
