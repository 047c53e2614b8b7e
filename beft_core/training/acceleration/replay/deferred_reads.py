"""Deferred reading of a step's values: the host sees them some steps later.

Reading a value from a GPU waits for everything that was asked of it before, and then the GPU waits for the host to
prepare the next step. So each step's values are copied into memory of the host while the GPU goes on, and looked at a
few steps later, when the copy is certain to be there or nearly so. When that is depends on the step alone and not on
speed: what follows from the values is the same every time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from beft_core.training.session import Readings


class Rhythm(NamedTuple):
    """Rhythm in which values are read."""

    block: int
    """Number of steps that are read at once; reading one waits for all on a device that knows no events."""
    delay: int
    """Number of steps between the last step of a block and its reading."""


RHYTHMS = {"cpu": Rhythm(1, 0), "cuda": Rhythm(1, 4), "mps": Rhythm(16, 0)}


class DeferredReadings(Readings):
    """Queue of small tensors on their way to the host."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.rhythm = RHYTHMS[device.type]
        self._copies: deque[tuple[int, Tensor, Any]] = deque()
        self._done = 0

    def add(self, step: int, values: Tensor) -> None:
        """Ask for the values of a step, as they are now."""
        self._done = step + 1
        if self.device.type != "cuda":
            self._copies.append((step, values, None))
            return
        here = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        here.copy_(values, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
        self._copies.append((step, here, copied))

    def known_after(self, step: int) -> int:
        """Number of steps that are done when the values of a step are read at the latest."""
        return (step // self.rhythm.block + 1) * self.rhythm.block + self.rhythm.delay

    def due(self, all: bool = False) -> Iterator[tuple[int, Tensor]]:
        """Yield steps and values that are to be read now, or ``all`` of them; each comes once."""
        while self._copies and (all or self.known_after(self._copies[0][0]) <= self._done):
            step, values, copied = self._copies.popleft()
            if copied is not None:
                copied.synchronize()
            yield step, values
