"""Objective, what a fine-tune optimises: the loss of each example, and all else that follows from what an output means.

An objective is one class in one file of this folder, and one row of
:data:`beft_core.training.objectives.registry.OBJECTIVES`. Training, Fisher information and evaluation ask it and know
no kind of task themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from beft_core.tasks import metrics
from beft_core.tasks.targets import Target

LogLikelihood = Callable[[Tensor, Tensor], Tensor]
"""Function (logits [n, outputs], labels [n]) -> log p(label | input) [n], up to a constant."""
Metrics = Callable[[np.ndarray, np.ndarray], dict[str, float]]
"""Function (logits [n, outputs], labels [n]) -> values by name."""


class Objective(ABC):
    """Objective for the labels of one task: a loss, and what its outputs mean."""

    key: ClassVar[str]
    """Name of the objective in the registry and in :attr:`beft_core.tasks.registry.TaskSpec.objective`."""
    nats: ClassVar[float]
    """Negative log-likelihood in nats, up to a constant, of one unit of loss."""

    def __init__(self, target: Target) -> None:
        """Bind the objective to ``target``, which says what the labels are."""
        self.target = target

    @property
    def outputs(self) -> int:
        """Number of logits of one example: as many as there are classes, 1 for a number."""
        return self.target.outputs

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of each example: (logits [n, outputs], labels [n]) -> [n]."""

    def log_likelihood(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the log-probability or log-density of each label in nats, up to a constant: minus the loss, [n]."""
        return -self.nats * self.loss(logits, labels)

    @abstractmethod
    def expectations(self) -> list[LogLikelihood]:
        """Return functions whose squared gradients add up to the Fisher information at one example.

        That is ``E_{y ~ p(y | x)} (grad log p(y | x))^2``, over labels as the model predicts them: the labels that the
        functions are given do not count.
        """

    @abstractmethod
    def predict(self, logits: np.ndarray) -> np.ndarray:
        """Turn logits [n, outputs] into what the metrics compare with the labels, [n]."""

    def metrics(self, names: Sequence[str], logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Compute metrics, keys of :data:`beft_core.tasks.metrics.METRICS`; NaN for logits that are not finite."""
        if not np.isfinite(logits).all():
            return dict.fromkeys(names, float("nan"))
        return metrics.compute(names, self.predict(logits), labels)

    def head(self) -> dict[str, Any]:
        """Describe, as JSON for a snapshot, a head that was trained for it."""
        labels = self.target.labels
        return {"kind": self.target.kind, "labels": None if labels is None else list(labels)}
