"""Arrays of a step in one block of bytes, so that one copy brings all of them to a device.

What a copy costs the host hardly depends on its size, and a step of a bank has sixteen arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

ALIGNMENT = 256
"""Bytes of which each array begins at a multiple, as memory of a GPU does: kernels read 16 bytes at once."""

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class PackedArrays:
    """Arrays on a device, side by side in one block."""

    block: Tensor
    """All of them, uint8 [bytes]."""
    tensors: dict[str, Tensor]
    """Each of them, by name: a view of the block."""

    @classmethod
    def of(cls, arrays: Arrays, device: torch.device) -> PackedArrays:
        """Copy arrays to a device, without waiting for a GPU."""
        *starts, end = _starts(arrays)
        block = torch.empty(end, dtype=torch.uint8, device=device)
        tensors = {
            name: block[start : start + array.nbytes].view(_dtype(array)).view(array.shape)
            for (name, array), start in zip(arrays.items(), starts, strict=True)
        }
        packed = cls(block, tensors)
        packed.put(arrays)
        return packed

    def put(self, arrays: Arrays) -> None:
        """Overwrite all with arrays of the same names, in the same order, of the same types and shapes."""
        pinned = self.block.device.type == "cuda"  # from ordinary memory a copy would make the host wait
        here = torch.empty(len(self.block), dtype=torch.uint8, pin_memory=pinned)
        numbers = here.numpy()
        for array, start in zip(arrays.values(), _starts(arrays), strict=False):
            numbers[start : start + array.nbytes].view(array.dtype)[:] = array.ravel()
        self.block.copy_(here, non_blocking=pinned)


def _starts(arrays: Arrays) -> list[int]:
    """Place arrays in a block: the byte at which each begins, and one at which the block ends."""
    starts = [0]
    for array in arrays.values():
        starts.append(starts[-1] + -(-array.nbytes // ALIGNMENT) * ALIGNMENT)
    return starts


def _dtype(array: np.ndarray) -> torch.dtype:
    return torch.from_numpy(np.empty(0, array.dtype)).dtype
