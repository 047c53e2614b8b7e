"""Reader of the vector of an example that its head reads."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor

from beft_core.architectures.layout import BiasSlot
from beft_core.training.batches.arrange import DevicePass


class Reader:
    """Reader that computes all hidden states and takes from them the vectors that heads read (first, last, or the
    mean).
    """

    by_example = False
    """Whether passes must carry the map of tokens from rows to examples (see :class:`HostPass`)."""

    def sees_examples(self, slot: BiasSlot) -> bool:
        """Say whether the module of ``slot`` gets vectors of examples while this is installed, not tokens of rows."""
        return False

    def installed(self) -> AbstractContextManager[None]:
        """Make the model compute what :meth:`vectors` takes, while the context is open."""
        return nullcontext()

    def vectors(self, backbone: Any, one: DevicePass) -> Tensor:
        """Compute what the heads read in a pass, [examples, hidden]; this must be installed."""
        return one.pool(backbone(**one.inputs)[0])
