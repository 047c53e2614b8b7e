"""Baseline that trains every parameter of the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from beft_core.architectures.layout import BiasSlot, Layout
from beft_core.models.biases import LoadedModel
from beft_core.training.methods.base import Adam, Information, Method, TrainedWeights


class Full(Method):
    """Method that trains every parameter of the backbone, and the head in the bank."""

    pooler_in_bank = False

    def weights(self, model: LoadedModel, information: Information) -> FullWeights:
        """Make every parameter that takes part in the forward pass a leaf of the graph."""
        return FullWeights(model.backbone, Adam.of(self.config))

    def changed_terms(self, slots: Sequence[BiasSlot], layout: Layout) -> set[str]:
        """Name every bias term of the model: all of them are trained."""
        return set(layout.terms)


class FullWeights(TrainedWeights):
    """Parameters of the backbone that take part in the forward pass, all of them trained."""

    def __init__(self, backbone: nn.Module, adam: Adam) -> None:
        self._parameters = list(backbone.parameters())
        super().__init__(adam)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Give every parameter a gradient while the context is open."""
        for parameter in self._parameters:
            parameter.requires_grad_()
        try:
            yield
        finally:
            self.zero_grad()
            for parameter in self._parameters:
                parameter.requires_grad_(False)

    def parameters(self) -> list[Tensor]:
        return list(self._parameters)
