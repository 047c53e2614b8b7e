"""Objective for the right one of several candidate answers to a prompt: cross-entropy over their scores."""

from __future__ import annotations

from functools import partial

from torch import Tensor
from torch.nn import functional as F

from beft_core.training.objectives.base import LogLikelihood
from beft_core.training.objectives.classification import weighted
from beft_core.training.objectives.prompted import Prompted


class Candidates(Prompted):
    """Cross-entropy, in nats, of the softmax over the candidates' mean log-probabilities per token."""

    key = "candidates"
    nats = 1.0
    relative = True

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the cross-entropy of each example: (scores [n, candidates], right candidate [n]) -> [n]."""
        return F.cross_entropy(logits, labels, reduction="none")

    def expectations(self, outputs: int) -> list[LogLikelihood]:
        """Return one function per candidate: the expectation over candidates is their exact sum."""
        return [partial(weighted, label=label) for label in range(outputs)]
