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

from beft_core.models.biases import LoadedModel
from beft_core.tasks import metrics
from beft_core.tasks.examples import Examples
from beft_core.tasks.prompts.spec import PromptSpec
from beft_core.tasks.targets import Target
from beft_core.training.batches.encoded import Encoded, encode
from beft_core.training.observer import Observer

LogLikelihood = Callable[[Tensor, Tensor], Tensor]
"""Function (logits [n, outputs], labels [n]) -> log p(label | input) [n], up to a constant."""
Outputs = np.ndarray | list[str]
"""Outputs for n examples: logits [n, outputs], or n texts."""
Metrics = Callable[[Outputs, Encoded], dict[str, float]]
"""Function (outputs for n examples, these examples) -> values by name."""


class Objective(ABC):
    """Objective for the labels of one task: a loss, and what its outputs mean."""

    key: ClassVar[str]
    """Name of the objective in the registry and in :attr:`beft_core.tasks.registry.TaskSpec.objective`."""
    nats: ClassVar[float]
    """Negative log-likelihood in nats, up to a constant, of one unit of loss."""
    relative: ClassVar[bool] = False
    """Whether the loss depends on differences between the logits of an example alone, as a softmax over them does."""

    def __init__(self, target: Target, prompt: PromptSpec | None = None) -> None:
        """Bind the objective to ``target``, which says what the labels are, and to the prompt of a prompted task."""
        self.target, self.prompt = target, prompt

    @property
    def outputs(self) -> int:
        """Number of logits of one example: as many as there are classes, 1 for a number."""
        return self.target.outputs

    @property
    def head_outputs(self) -> int | None:
        """Number of outputs of the head that is trained; None where the model's own language-model head is read."""
        return self.outputs

    def encode(
        self,
        model: LoadedModel,
        examples: Examples,
        max_length: int,
        observer: Observer | None = None,
        training: bool = False,
    ) -> Encoded:
        """Tokenise examples, cut to ``max_length`` tokens each; ``training``: as a training step looks at them.

        Raises:
            UserError: examples of another kind of task.
        """
        return encode(model.tokenizer, examples, max_length, observer)

    def weights(self, batch: Encoded) -> np.ndarray:
        """Say how much the loss of each example counts in the mean loss of a step, float32 [n]: all the same."""
        return np.ones(len(batch), np.float32)

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of each example: (logits [n, outputs], labels [n]) -> [n]."""

    def log_likelihood(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the log-probability or log-density of each label in nats, up to a constant: minus the loss, [n]."""
        return -self.nats * self.loss(logits, labels)

    @abstractmethod
    def expectations(self, outputs: int) -> list[LogLikelihood]:
        """Return functions whose squared gradients add up to the Fisher information at one example, whose logits are
        ``outputs``.

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

    def judge(self, names: Sequence[str], outputs: Outputs, examples: Encoded) -> dict[str, float]:
        """Compute metrics as :meth:`metrics`, from examples whose labels may not be all that is right."""
        assert not isinstance(outputs, list), "only an objective of free text judges texts"
        return self.metrics(names, outputs, examples.labels)

    def head(self) -> dict[str, Any]:
        """Describe, as JSON for a snapshot, a head that was trained for it."""
        labels = self.target.labels
        return {"kind": self.target.kind, "labels": None if labels is None else list(labels)}
