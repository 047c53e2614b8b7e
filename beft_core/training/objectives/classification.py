"""Objective for one of several classes: cross-entropy of softmax."""

from __future__ import annotations

from functools import partial

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from beft_core.training.objectives.base import LogLikelihood, Objective


class Classification(Objective):
    """Cross-entropy between the softmax of the logits and the class, in nats."""

    key = "classification"
    nats = 1.0

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the cross-entropy of each example: (logits [n, classes], labels [n]) -> [n]."""
        return F.cross_entropy(logits, labels, reduction="none")

    def expectations(self, outputs: int) -> list[LogLikelihood]:
        """Return one function per class: the expectation over labels is their exact sum."""
        return [partial(weighted, label=label) for label in range(outputs)]

    def predict(self, logits: np.ndarray) -> np.ndarray:
        """Take the number of the most probable class, [n]; of several equal ones the first."""
        return np.asarray(logits.argmax(1))


def weighted(logits: Tensor, labels: Tensor, *, label: int) -> Tensor:
    """Make a function whose squared gradient is ``p(label | x) (grad log p(label | x))^2``."""
    log_likelihood = F.log_softmax(logits, dim=1)[:, label]
    return log_likelihood * (0.5 * log_likelihood).exp().detach()
