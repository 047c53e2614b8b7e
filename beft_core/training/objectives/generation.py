"""Objective for the text of the answer to a prompt: the language-model loss on the answer's tokens."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from beft_core.training.batches.encoded import Encoded
from beft_core.training.objectives.base import LogLikelihood
from beft_core.training.objectives.prompted import Prompted


class Generation(Prompted):
    """Negative log-probability of the right answer per token, in nats.

    An example weighs as much as its answer has tokens, so that the loss of a step is the mean over all answer tokens
    of a batch, as in transformers.
    """

    key = "generation"
    nats = 1.0
    trains_on_gold_alone = True

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Take minus the mean log-probability of the right answer: (scores [n, candidates], its number [n]) -> [n]."""
        return -logits.gather(1, labels[:, None]).squeeze(1)

    def weights(self, batch: Encoded) -> np.ndarray:
        """Count the answer tokens of each example, float32 [n]; a batch for training holds right answers alone."""
        assert batch.answers is not None
        return batch.answers[:, 1].astype(np.float32)

    def expectations(self, outputs: int) -> list[LogLikelihood]:
        """Return the log-likelihood of the given answer: there are too many texts to take an expectation over them."""
        return [self.log_likelihood]
