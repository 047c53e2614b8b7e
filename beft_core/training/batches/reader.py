"""How the vector of an example that its head reads is got out of the model."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor

from beft_core.architectures.layout import BiasSlot
from beft_core.training.batches.arrange import DevicePass


class Reader:
    """Computes all hidden states and takes the vectors that are read, or their mean."""

    by_example = False
    """Whether passes must say how tokens get from rows to examples (see :class:`HostPass`)."""

    def sees_examples(self, slot: BiasSlot) -> bool:
        """Whether a term's module gets the vectors of examples while this is installed, and not the tokens of rows."""
        return False

    def installed(self) -> AbstractContextManager[None]:
        """While it is open, the model computes what :meth:`vectors` takes."""
        return nullcontext()

    def vectors(self, backbone: Any, one: DevicePass) -> Tensor:
        """[examples, hidden]: what the heads read of a pass, while this is installed."""
        return one.pool(backbone(**one.inputs)[0])
