"""Which row of a batch belongs to which run: the index that lets many fine-tunes share one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
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
        run_of_item = np.asarray(run_of, dtype=np.int64)
        counts = np.bincount(run_of_item, minlength=runs)
        most = max(1, int(counts.max(initial=0)))
        order = np.argsort(run_of_item, kind="stable")  # items by run, in their order within each run
        owner = run_of_item[order]
        column = np.arange(len(order)) - (np.cumsum(counts) - counts)[owner]
        padded = np.full((runs, most), len(order), dtype=np.int64)
        padded[owner, column] = order
        place = np.empty(len(order), dtype=np.int64)  # where item i stands in items_of, flattened
        place[order] = owner * most + column
        self.items = len(order)
        self.runs = runs
        self.run_of = to_device(run_of_item, device)
        self.items_of = to_device(padded, device)
        self.place = to_device(place, device)

    def spread(self, bank: Tensor) -> Tensor:
        """[runs, ...] -> [items, ...]: each item gets its run's slice of the bank."""
        return spread(bank, self.run_of, self.items_of)

    def group(self, items: Tensor) -> Tensor:
        """[items, ...] -> [runs, most, ...]: the items of each run side by side, zeros where a run has fewer."""
        return _group(items, self.items_of)

    def ungroup(self, grouped: Tensor) -> Tensor:
        """[runs, most, ...] -> [items, ...]: the inverse of :meth:`group`."""
        return grouped.flatten(0, 1)[self.place]


def spread(bank: Tensor, run_of: Tensor, items_of: Tensor) -> Tensor:
    """:meth:`Route.spread` on the tensors of a route, for code that is compiled."""
    return _Spread.apply(bank, run_of, items_of)


def to_device(array: np.ndarray, device: torch.device | str) -> Tensor:
    """A copy on the device that nobody waits for: from ordinary memory a GPU would make the host wait."""
    tensor = torch.from_numpy(array)
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def _group(items: Tensor, items_of: Tensor) -> Tensor:
    padded = torch.cat([items, items.new_zeros(1, *items.shape[1:])])
    return padded[items_of]


class _Spread(torch.autograd.Function):
    """``bank[run_of]`` with a backward that sums over the items of each run without atomics."""

    @staticmethod
    def forward(ctx: Any, bank: Tensor, run_of: Tensor, items_of: Tensor) -> Tensor:
        ctx.save_for_backward(items_of)
        return bank.index_select(0, run_of)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (items_of,) = ctx.saved_tensors
        return _group(grads[0], items_of).sum(1), None, None
