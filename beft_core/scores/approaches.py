"""The registry of approaches: every way to score a bias term, and what it says of itself.

Tables, rankings, the command line, reports and pages read this registry: one more score is one more entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from beft_core.scores.formulas import Movement, fisher_score


@dataclass(frozen=True)
class Approach:
    """One way to score a term: it computes and explains itself."""

    key: str
    label: str
    formula: str
    """Per layer, as plain text; a term's score is the mean over layers."""
    reference: str
    per_layer: Callable[[Any], np.ndarray]
    """`Movement`, or squared gradients [layers, width], -> float64 [layers]."""
    needs: Literal["movement", "fisher", "fisher_batch"] = "movement"
    """What `per_layer` takes; of these a snapshot may lack the squared gradients."""
    caveat: str = ""
    """What it depends on besides learning, in plain sentences: see :mod:`beft_core.models.value_shift`."""


_PAPER = "BEFT, https://arxiv.org/abs/2509.15974"
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
            "projection_ratio",
            "Projection ratio",
            "1 − pre·post / max(‖pre‖, ‖post‖)²",
            f"{_PAPER}, section 2.1",
            Movement.projection_ratio,
            caveat=_ORIGIN,
        ),
        Approach(
            "magnitude",
            "Magnitude (L1)",
            "Σ |post − pre|",
            f"{_PAPER}, section 2",
            Movement.magnitude,
            caveat=_SCALE,
        ),
        Approach(
            "magnitude_mean_abs",
            "Magnitude (mean)",
            "mean |post − pre|",
            f"{_PAPER}, the authors' code",
            Movement.magnitude_mean_abs,
            caveat=_SCALE,
        ),
        Approach(
            "fisher",
            "Fisher",
            "(1/N) Σᵢ ‖∇b log p(yᵢ|xᵢ)‖²",
            f"{_PAPER}, section 2",
            fisher_score,
            needs="fisher",
            caveat=_SCALE,
        ),
        Approach(
            "fisher_batch",
            "Fisher (batches)",
            "mean over elements of (mean gradient of a batch)²",
            f"{_PAPER}, the authors' code",
            partial(fisher_score, variant="batch"),
            needs="fisher_batch",
            caveat=_SCALE,
        ),
    )
}
"""The order of tables. Which of them a snapshot allows depends on the tensors that it holds."""
