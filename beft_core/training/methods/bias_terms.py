"""Methods that train biases: the named terms, every bias, none but what all methods train, or nothing at all."""

from __future__ import annotations

from beft_core.training.methods.base import Method
from beft_core.training.methods.bias_bank import Bank


class BiasTerms(Method):
    """Method that trains the named bias terms, the pooler's bias and the head; without a name only these two."""


class Nothing(Method):
    """Method that trains nothing: the model answers as it is."""

    def parts(self, bank: Bank) -> set[str]:
        """Name no part of the bank."""
        return set()


class EveryBias(Method):
    """Method that trains every bias of the model and the head (BitFit, https://arxiv.org/abs/2106.10199)."""

    outside_biases = True

    def counted(self, slots: set[str], owned: set[str]) -> set[str]:
        """Select the parts that count as trained: all biases, the pooler's included."""
        return slots | {name for name in owned if not name.startswith("head.")}
