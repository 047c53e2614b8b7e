"""Which row of a batch belongs to which run: the index that lets many fine-tunes share one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Route:
    """Maps the items of a batch (its rows, or its examples) to the runs that own them.

    ``run_of``  [items]: the run of each item.
    ``items_of`` [runs, most]: the items of each run, padded with ``items`` (one past the end), so that sums over the
    items of a run are a gather and a sum. Unlike an atomic scatter-add this gives the same bits every time on a GPU,
    and unlike a product with a one-hot matrix it keeps a NaN of one run away from the others (0 * NaN is NaN).
    """

    def __init__(self, run_of: Sequence[int], runs: int, device: torch.device | str = "cpu") -> None:
        members: list[list[int]] = [[] for _ in range(runs)]
        for item, run in enumerate(run_of):
            members[run].append(item)
        most = max(1, max(map(len, members)))
        padded = [m + [len(run_of)] * (most - len(m)) for m in members]
        self.items = len(run_of)
        self.runs = runs
        self.run_of = torch.tensor(list(run_of), dtype=torch.long, device=device)
        self.items_of = torch.tensor(padded, dtype=torch.long, device=device)
        # Where item i stands in items_of, flattened: the inverse of grouping.
        place = {item: r * most + c for r, m in enumerate(members) for c, item in enumerate(m)}
        self.place = torch.tensor([place[i] for i in range(self.items)], dtype=torch.long, device=device)

    def spread(self, bank: Tensor) -> Tensor:
        """[runs, ...] -> [items, ...]: each item gets its run's slice of the bank."""
        return _Spread.apply(bank, self)

    def group(self, items: Tensor) -> Tensor:
        """[items, ...] -> [runs, most, ...]: the items of each run side by side, zeros where a run has fewer."""
        padded = torch.cat([items, items.new_zeros(1, *items.shape[1:])])
        return padded[self.items_of]

    def ungroup(self, grouped: Tensor) -> Tensor:
        """[runs, most, ...] -> [items, ...]: the inverse of :meth:`group`."""
        return grouped.flatten(0, 1)[self.place]


class _Spread(torch.autograd.Function):
    """``bank[run_of]`` with a backward that sums over the items of each run without atomics."""

    @staticmethod
    def forward(ctx: Any, bank: Tensor, route: Route) -> Tensor:
        ctx.route = route
        return bank.index_select(0, route.run_of)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.route.group(grads[0]).sum(1), None
