"""Objectives of prompted tasks, in which the model's own language-model head scores answers: no head is trained.

Their logits are the mean log-probabilities per token, in nats, of the candidate answers of each example.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel
from beft_core.tasks.answer_metrics import compute_answers
from beft_core.tasks.constant_answer import judged
from beft_core.tasks.examples import Examples
from beft_core.training.batches.encoded import Encoded, Writing
from beft_core.training.batches.prompted import encode_prompts, encode_questions
from beft_core.training.objectives.base import Objective, Outputs
from beft_core.training.observer import Observer
from beft_core.training.preconditions import require_language_model


class Prompted(Objective):
    """Objective whose logits [n, candidates] are those of a language model; a candidate that an example does not have
    is :data:`beft_core.tasks.predictions.MISSING`.
    """

    trains_on_gold_alone = False
    """Whether a training step looks at the right candidate of each example and at no other."""

    @property
    def head_outputs(self) -> None:
        """No head is trained."""
        return None

    def encode(
        self,
        model: LoadedModel,
        examples: Examples,
        max_length: int,
        observer: Observer | None = None,
        training: bool = False,
    ) -> Encoded:
        """Tokenise prompts with their candidates (:func:`beft_core.training.batches.prompted.encode_prompts`).

        Raises:
            UserError: a model without a language-model head, examples without candidates, or candidates that cannot be
                scored.
        """
        require_language_model(model.layout)
        if examples.candidates is None:
            raise UserError("got examples without candidates", "a task of prompts", "beft tasks")
        positions = getattr(model.config, "max_position_embeddings", None)
        if type(positions) is int:
            max_length = min(max_length, positions)  # the observer hears which prompts are too long for it
        if not training and self.prompt is not None and self.prompt.answered_by == "generation":
            writing = Writing(self.prompt.max_new_tokens, self.prompt.ending)
            model_type = model.layout.model_type
            return encode_questions(model.tokenizer, examples, max_length, writing, observer, model_type=model_type)
        encoded = encode_prompts(
            model.tokenizer,
            examples,
            max_length,
            observer,
            model_type=model.layout.model_type,
            gold_only=training and self.trains_on_gold_alone,
        )
        if not model.layout.packing and encoded.branches:
            raise UserError(
                f"got {model.layout.model_type}, which cannot score several answers of more than one token in one pass",
                "a model whose rows can be packed, or candidates of one token",
            )
        return encoded

    def predict(self, logits: np.ndarray) -> np.ndarray:
        """Take the number of the candidate with the highest score, [n]; of several equal ones the first."""
        return np.asarray(logits.argmax(1))

    def judge(self, names: Sequence[str], outputs: Outputs, examples: Encoded) -> dict[str, float]:
        """Compute metrics, of texts those of :mod:`beft_core.tasks.answer_metrics`.

        Where several candidates are right, the one that is predicted counts as the label.
        """
        source, labels = examples.source, examples.labels
        if isinstance(outputs, list):
            assert source is not None and source.answers is not None, "examples without right texts"
            return compute_answers(names, outputs, source.answers)
        if source is not None:
            labels = judged(self.predict(outputs), labels, source.golds)
        return self.metrics(names, outputs, labels)

    def head(self) -> dict[str, Any]:
        """Describe, as JSON for a snapshot, what scored the labels: no head was trained, only this is said of it."""
        return {**super().head(), "objective": self.key}
