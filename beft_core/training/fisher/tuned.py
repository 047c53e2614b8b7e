"""Fisher information of the trained bias terms at a fine-tuned model, by which the Fisher average weighs tasks.

Fisher-weighted averaging (https://arxiv.org/abs/2111.09832) takes the diagonal of the Fisher information at the model
that is merged, with labels y as that model expects them and not as the data has them:

    F = (1/N) sum_i E_{y ~ p(y | x_i)} (grad_b log p(y | x_i))^2

The objective says how the expectation is taken (:meth:`beft_core.training.objectives.base.Objective.expectations`). The
score of the same name is something else: it is measured before the fine-tune, under a random head, with the labels of
the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from beft_core.architectures.layout import BiasSlot
from beft_core.models.biases import LoadedModel
from beft_core.training.batches.encoded import Encoded
from beft_core.training.batches.reader import Reader
from beft_core.training.fisher.information import fisher_information
from beft_core.training.objectives.base import Objective
from beft_core.training.observer import Observer
from beft_core.training.precision import Precision


def tuned_fisher(
    model: LoadedModel,
    slots: Sequence[BiasSlot],
    examples: Encoded,
    head: Mapping[str, np.ndarray],
    objective: Objective,
    precision: Precision,
    observer: Observer | None = None,
    reader: Reader | None = None,
) -> dict[tuple[str, str], np.ndarray]:
    """Measure the expected Fisher information at the current values of the model, dropout off.

    ``head``: every tensor besides the slots that the fine-tune trained, by part name (``head.weight``, ``pooler.bias``,
    ...), as it is after the fine-tune. ``reader``: how the bank gets its vectors; None: all hidden states are computed.

    Returns (stack, term) -> float32 [layers in ``slots``, width]. The formula: https://arxiv.org/abs/2111.09832.
    """
    total: dict[tuple[str, str], np.ndarray] = {}
    for one in objective.expectations(examples.most_candidates or objective.outputs):
        found = fisher_information(
            model, slots, examples, dict(head), one, precision, observer, reader, objective.weights
        ).exact
        total = {key: total[key] + array if total else array for key, array in found.items()}
    return total
