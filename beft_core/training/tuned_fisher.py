"""Fisher information of the trained bias terms at a fine-tuned model, by which the Fisher average weighs tasks.

Fisher-weighted averaging (https://arxiv.org/abs/2111.09832) takes the diagonal of the Fisher information at the model
that is merged, with labels y as that model expects them and not as the data has them:

    F = (1/N) sum_i E_{y ~ p(y | x_i)} (grad_b log p(y | x_i))^2

For a classification the expectation is the exact sum over classes. A regression is a Gaussian around the prediction;
with variance 1 the expectation is the squared gradient of the prediction. The score of the same name is something else:
it is measured before the fine-tune, under a random head, with the labels of the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from beft_core.architectures.layout import BiasSlot
from beft_core.models.biases import LoadedModel
from beft_core.training.batches.arrange import Encoded
from beft_core.training.fisher import LogLikelihood, fisher_information
from beft_core.training.observer import Observer
from beft_core.training.precision import Precision


def tuned_fisher(
    model: LoadedModel,
    slots: Sequence[BiasSlot],
    examples: Encoded,
    head: Mapping[str, np.ndarray],
    regression: bool,
    precision: Precision,
    observer: Observer | None = None,
) -> dict[tuple[str, str], np.ndarray]:
    """(stack, term) -> float32 [layers in ``slots``, width] at the current values of the model, dropout off.

    ``head``: every tensor besides the slots that the fine-tune trained, by part name (``head.weight``, ``pooler.bias``,
    ...), as it is after the fine-tune.
    """
    classes = len(head["head.weight"])
    passes = [_mean] if regression else [_expected(label) for label in range(classes)]
    total: dict[tuple[str, str], np.ndarray] = {}
    for one in passes:
        found = fisher_information(model, slots, examples, dict(head), one, precision, observer).exact
        total = {key: total[key] + array if total else array for key, array in found.items()}
    return total


def passes_over(examples: int, classes: int | None) -> int:
    """Examples that :func:`tuned_fisher` goes through, a pass for each class; None: a regression."""
    return examples * (classes or 1)


def _expected(label: int) -> LogLikelihood:
    """A function whose squared gradient is ``p(label | x) (grad log p(label | x))^2``."""

    def scaled(logits: Tensor, labels: Tensor) -> Tensor:
        log_likelihood = F.log_softmax(logits, dim=1)[:, label]
        return log_likelihood * (0.5 * log_likelihood).exp().detach()

    return scaled


def _mean(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean of the Gaussian, whose squared gradient is the Fisher information of a variance of 1."""
    return logits.squeeze(-1)
