"""Session, what the plain algorithm leaves open so that it can be made faster without being seen in it.

The :class:`Session` here is the null one: everything is computed as it is written, and read at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from beft_core.training.batches.arrange import Shaping
from beft_core.training.batches.reader import Reader
from beft_core.training.batches.run_index import to_device

Compute = Callable[[Mapping[str, Tensor]], Tensor]
"""Function from tensors on the device, by the names of the arrays, to one tensor."""


class Readings:
    """Readings of losses and clip factors of steps, which reach the host as soon as the step is taken."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, Tensor]] = []

    def add(self, step: int, values: Tensor) -> None:
        """Ask for the values of a step, as they are now. Steps count from 0, and each is added."""
        self._waiting.append((step, values))

    def known_after(self, step: int) -> int:
        """Say how many steps are done when the values of a step are read at the latest."""
        return step + 1

    def due(self, all: bool = False) -> Iterator[tuple[int, Tensor]]:
        """Yield steps and values that are to be read now, or ``all`` of them; each comes once."""
        while self._waiting:
            yield self._waiting.pop(0)


class Session:
    """Null session: everything is computed as it is written."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.reader = Reader()
        """Reader by which a bank gets the vectors that heads read."""
        self.shaping = Shaping()
        """Shaping of passes now: inside a fine-tune it may be otherwise than outside."""
        self.readings = Readings()
        """Readings of the losses of steps on their way to the host."""

    def training(self) -> AbstractContextManager[None]:
        """Prepare the model for steps and evaluations while the context is open.

        The bank is installed then, and the model in training mode.
        """
        return nullcontext()

    def before_pass(self) -> None:
        """Prepare what a forward pass needs anew each time."""

    def run(self, key: Hashable, arrays: Mapping[str, np.ndarray], compute: Compute) -> Tensor:
        """Send arrays to the device and compute with them there.

        With the same ``key`` and shapes it must be the same computation; ``compute`` sends nothing to the device and
        reads nothing from it. Any later run may overwrite the result.
        """
        return compute({name: to_device(array, self.device) for name, array in arrays.items()})

    def evaluating(self) -> AbstractContextManager:
        """Enter a context around each pass of an evaluation."""
        return nullcontext()
