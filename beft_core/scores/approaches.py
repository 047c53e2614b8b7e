"""Registry of approaches: every way to score a bias term, and what it says of itself.

Tables, rankings, the command line, reports and pages read this registry: one more score is one more entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from beft_core.scores.formulas import Movement, fisher_score


@dataclass(frozen=True)
class Question:
    """Question that an approach asks of a bias term; approaches that ask the same one are variants of each other."""

    key: str
    """Name, in URLs, of the switch between the question's variants."""
    words: str
    """Question as a sentence."""
    past: str = ""
    """Word for what a term did, such as "turned". Only where a term can be followed while it is trained."""
    help: str = ""
    """Explanation of what tells the question's variants apart."""


@dataclass(frozen=True)
class Approach:
    """Approach to score a term: it computes and explains itself."""

    key: str
    label: str
    formula: str
    """Formula for one layer, as plain text; a term's score is the mean over layers."""
    reference: str
    per_layer: Callable[[Any], np.ndarray]
    """Function from a `Movement`, squared gradients [layers, width] or output changes [layers] to scores, float64
    [layers].
    """
    question: Question
    variant: str = ""
    """Word for the approach among those that ask the same question; the first of them in the registry is the one that
    is shown first.
    """
    needs: Literal["movement", "fisher", "fisher_batch", "output_change"] = "movement"
    """Tensors that `per_layer` takes; a snapshot may lack all but the movement."""
    from_start: bool = False
    """Whether the approach compares with where the term started, so that a start at zero gives it no meaning."""
    heading: str = ""
    """Name of the approach where there is little room."""
    caveat: str = ""
    """Caveat, in plain sentences: what the score depends on besides learning, see
    :mod:`beft_core.models.value_shift`.
    """

    @property
    def of_change(self) -> bool:
        """Whether the approach scores what the fine-tune changed, so that a term which was not trained has no score."""
        return self.needs in ("movement", "output_change")


PAPER = "projection_ratio"
"""Key of the approach by which the paper selects a term; it is the default wherever none is named."""

TURN = Question("turn", "How far did it turn?", "turned")
MOVE = Question(
    "magnitude",
    "How far did it move?",
    "moved",
    "The paper sums |post − pre| over the elements of a layer. The authors' code takes the mean, which is fair to "
    "terms of different widths.",
)
DEPEND = Question(
    "fisher",
    "How much did the loss depend on it?",
    help="Squared gradients before the fine-tune: of every example, or, as in the authors' code, of the mean over "
    "batches of 8.",
)
REACH = Question(
    "output",
    "How far did it move what the layer computes?",
    help="Measured with the model on validation examples, before the fine-tune: the change of the attention's output "
    "that b_v makes, and of the attention logits that b_q and b_k make, relative to their size.",
)

_SOURCE = "BEFT, https://arxiv.org/abs/2509.15974"
_ORIGIN = (
    "Depends on how the model is written down. A constant c added to b_v, with W_o c taken from the bias of the "
    "attention output, changes no output and no gradient, yet it changes this score of b_v, even which term is "
    "selected. It mostly reads the pre-trained norm: the shorter a bias is at first, the higher it scores."
)
_SCALE = (
    "Depends on the scale in which values, or queries against keys, are written down, which changes no output. A "
    "constant moved between b_v and the bias of the attention output leaves it as it is."
)

APPROACHES: dict[str, Approach] = {
    approach.key: approach
    for approach in (
        Approach(
            PAPER,
            "Projection ratio",
            "1 − pre·post / max(‖pre‖, ‖post‖)²",
            f"{_SOURCE}, section 2.1",
            Movement.projection_ratio,
            TURN,
            from_start=True,
            heading="ratio",
            caveat=_ORIGIN,
        ),
        Approach(
            "magnitude",
            "Magnitude (L1)",
            "Σ |post − pre|",
            f"{_SOURCE}, section 2",
            Movement.magnitude,
            MOVE,
            "sum (L1)",
            heading="L1",
            caveat=_SCALE,
        ),
        Approach(
            "magnitude_mean_abs",
            "Magnitude (mean)",
            "mean |post − pre|",
            f"{_SOURCE}, the authors' code",
            Movement.magnitude_mean_abs,
            MOVE,
            "mean",
            heading="mean",
            caveat=_SCALE,
        ),
        Approach(
            "fisher",
            "Fisher",
            "(1/N) Σᵢ ‖∇b log p(yᵢ|xᵢ)‖²",
            f"{_SOURCE}, section 2",
            fisher_score,
            DEPEND,
            "per example",
            needs="fisher",
            heading="Fisher",
            caveat=_SCALE,
        ),
        Approach(
            "fisher_batch",
            "Fisher (batches)",
            "mean over elements of (mean gradient of a batch)²",
            f"{_SOURCE}, the authors' code",
            partial(fisher_score, variant="batch"),
            DEPEND,
            "per batch",
            needs="fisher_batch",
            heading="batches",
            caveat=_SCALE,
        ),
        Approach(
            "output_change",
            "Relative output change",
            "‖W_o Δb_v‖ / ‖attention output‖; ‖Δ logits‖ / ‖logits‖ over keys for b_q and b_k",
            "this lab, not in the paper (https://arxiv.org/abs/2509.15974): no rewriting of the model changes it",
            partial(np.asarray, dtype=np.float64),
            REACH,
            needs="output_change",
            heading="output",
            caveat="Measured on validation examples, layer by layer, with the rest of the model as it was. What b_v "
            "and b_q move, outputs and logits, are two different sizes.",
        ),
    )
}
"""Approaches by key, in the order of tables. Which of them a snapshot allows depends on the tensors that it holds."""


def of_probes() -> dict[str, Approach]:
    """List the approaches that every probe allows, by key, and so sweeps and reports hold; the others need further
    passes of a model.
    """
    return {key: one for key, one in APPROACHES.items() if one.needs != "output_change"}


def questions(keys: Iterable[str] | None = None) -> dict[Question, tuple[Approach, ...]]:
    """List the questions of the registry with the approaches that ask them, both in the order of the registry.

    ``keys``: of approaches that count; None: all.
    """
    wanted = set(APPROACHES if keys is None else keys)
    asked: dict[Question, tuple[Approach, ...]] = {}
    for approach in APPROACHES.values():
        if approach.key in wanted:
            asked[approach.question] = (*asked.get(approach.question, ()), approach)
    return asked


def of_movement() -> tuple[Approach, ...]:
    """List the approaches that compare a bias before and after, and so can follow it while it is trained."""
    return tuple(approach for approach in APPROACHES.values() if approach.needs == "movement")


def score_words() -> dict[str, str]:
    """Map short words for the approaches that compare before and after to their keys: "turned", "moved",
    "moved, mean".
    """
    words = {}
    for question, variants in questions().items():
        for number, approach in enumerate(one for one in variants if one.needs == "movement"):
            name = question.past or approach.label
            words[f"{name}, {approach.variant}" if number and approach.variant else name] = approach.key
    return words
