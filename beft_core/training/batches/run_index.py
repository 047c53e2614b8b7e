"""Index of which row of a batch belongs to which run: the index that lets many fine-tunes share one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


class RunIndex:
    """Map of the items of a batch (its rows, or its examples) to the runs that own them.

    ``run_of``  [items]: the run of each item.
    ``items_of`` [runs, most]: the items of each run, padded with ``items`` (one past the end), so that sums over the
    items of a run are a gather and a sum. Unlike an atomic scatter-add this gives the same bits every time on a GPU,
    and unlike a product with a one-hot matrix it keeps a NaN of one run away from the others (0 * NaN is NaN).
    ``place`` [items]: where each item stands in the flattened ``items_of``.
    ``present`` [runs present]: the runs that own an item, where ``items_of`` has rows for these alone; None: it has one
    for every run.
    """

    def __init__(self, run_of: Tensor, items_of: Tensor, place: Tensor, present: Tensor | None = None) -> None:
        self.run_of, self.items_of, self.place, self.present = run_of, items_of, place, present

    @classmethod
    def to(cls, device: torch.device | str, run_of: Sequence[int] | np.ndarray, runs: int) -> RunIndex:
        """Copy the index to a device."""
        return cls(**{name: to_device(array, device) for name, array in run_index_arrays(run_of, runs).items()})

    def spread(self, bank: Tensor) -> Tensor:
        """Give each item its run's slice of the bank: [runs, ...] -> [items, ...]."""
        return spread(bank, self.run_of, self.items_of)

    def group(self, items: Tensor) -> Tensor:
        """Put the items of each run side by side, zeros where a run has fewer: [items, ...] -> [runs, most, ...]."""
        return _group(items, self.items_of)

    def ungroup(self, grouped: Tensor) -> Tensor:
        """Undo :meth:`group`: [runs, most, ...] -> [items, ...]."""
        return grouped.flatten(0, 1)[self.place]


def run_index_arrays(
    run_of: Sequence[int] | np.ndarray,
    runs: int,
    rounded: bool = False,
    only_present: bool = False,
    least: int = 1,
) -> dict[str, np.ndarray]:
    """Compute the arrays of a :class:`RunIndex` on the host, int64.

    ``rounded``: the most items of a run are rounded up to a power of two, so that fewer shapes occur; ``least``: they
    are taken for so many at least.
    ``only_present``: items are grouped by the runs that own some, so that thousands of others cost nothing; there are
    no gradients then.
    """
    if only_present:
        every = np.asarray(run_of, dtype=np.int64)
        present, own = np.unique(every, return_inverse=True)
        return {**run_index_arrays(own, len(present), rounded, least=least), "run_of": every, "present": present}
    run_of_item = np.asarray(run_of, dtype=np.int64)
    counts = np.bincount(run_of_item, minlength=runs)
    most = max(least, int(counts.max(initial=0)))
    if rounded:
        most = 1 << (most - 1).bit_length()
    order = np.argsort(run_of_item, kind="stable")  # items by run, in their order within each run
    owner = run_of_item[order]
    column = np.arange(len(order)) - (np.cumsum(counts) - counts)[owner]
    items_of = np.full((runs, most), len(order), dtype=np.int64)
    items_of[owner, column] = order
    place = np.empty(len(order), dtype=np.int64)
    place[order] = owner * most + column
    return {"run_of": run_of_item, "items_of": items_of, "place": place}


def spread(bank: Tensor, run_of: Tensor, items_of: Tensor) -> Tensor:
    """Do what :meth:`RunIndex.spread` does with bare tensors, for code that is compiled."""
    return _Spread.apply(bank, run_of, items_of)


def to_device(array: np.ndarray, device: torch.device | str) -> Tensor:
    """Copy an array to a device without waiting for a GPU.

    From ordinary memory a copy would make the host wait, so it goes through pinned memory.
    """
    device, tensor = torch.device(device), torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _group(items: Tensor, items_of: Tensor) -> Tensor:
    padded = torch.cat([items, items.new_zeros(1, *items.shape[1:])])
    return padded[items_of]


class _Spread(torch.autograd.Function):
    """Lookup ``bank[run_of]`` with a backward that sums over the items of each run without atomics."""

    @staticmethod
    def forward(ctx: Any, bank: Tensor, run_of: Tensor, items_of: Tensor) -> Tensor:
        ctx.save_for_backward(items_of)
        return bank.index_select(0, run_of)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (items_of,) = ctx.saved_tensors
        return _group(grads[0], items_of).sum(1), None, None
