"""Objective for a number: squared error, as in transformers' regression head; as a likelihood a Gaussian of
variance 1.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from beft_core.training.objectives.base import LogLikelihood, Objective


class Regression(Objective):
    """Squared error between the one output and the label."""

    key = "regression"
    nats = 0.5

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the squared error of each example: (logits [n, 1], labels [n]) -> [n]."""
        return (logits.squeeze(-1) - labels.to(logits.dtype)).square()

    def expectations(self, outputs: int) -> list[LogLikelihood]:
        """Return one function: at a variance of 1 the Fisher information is the squared gradient of the mean."""
        return [_mean]

    def predict(self, logits: np.ndarray) -> np.ndarray:
        """Take the output itself, float64 [n]."""
        return logits.reshape(-1).astype(np.float64)


def _mean(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.squeeze(-1)
