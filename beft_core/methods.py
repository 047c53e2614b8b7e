"""Methods of fine-tuning, a row for each that says what it trains; without PyTorch, whose classes are only named."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class MethodRow:
    """Method of fine-tuning: what it trains besides the head."""

    words: str
    """Explanation of what the method trains, for a list of choices."""
    implementation: str
    """Name ``module:class`` of its implementation, a subclass of :class:`beft_core.training.methods.base.Method`."""
    short: str = ""
    """Short name of what the method trains, for lists of runs; empty: the bias terms are named."""
    names_terms: bool = False
    """Whether the configuration says with ``terms`` which bias terms of the layers it trains."""
    every_bias: bool = False
    """Whether the method trains every bias, so that the terms can be compared: such a fine-tune is a probe."""
    changes_weights: bool = False
    """Whether more than biases changes, so that a snapshot is not the whole result."""
    trains: bool = True
    """Whether anything is trained; otherwise a run scores the model as it is."""
    shares_pass: bool = True
    """Whether runs of the method may share forward passes with other runs, as parts of one bank."""
    counts: Callable[[Any, int], int] = lambda layout, total: 0
    """Count of the parameters that the method trains besides bias terms, from the model's layout and the parameters of
    its backbone.
    """
    usual_rates: tuple[float, float] = (1e-4, math.inf)
    """Learning rates between which a fine-tune is usual, both included: the authors' are 1e-4 to 1e-3 for biases and
    1e-5 for every weight, and small models want more.
    """
    rates: Mapping[str, float] = field(default_factory=dict)
    """Learning rate for every task by preset, where the method does not take the task's."""
    rate_shares: Mapping[str, float] = field(default_factory=dict)
    """Share of the task's learning rate that the method takes, by preset; without an entry the whole."""

    @property
    def trains_terms(self) -> bool:
        """Whether the method trains bias terms of the layers, and so none that is certified null."""
        return self.names_terms or self.every_bias

    def terms(self, named: Sequence[str], available: Sequence[str]) -> tuple[str, ...]:
        """Select the bias terms that the method trains: those ``named``, all that are ``available``, or none."""
        return tuple(named if self.names_terms else available if self.every_bias else ())


METHODS: dict[str, MethodRow] = {
    "terms": MethodRow(
        "the named bias terms, the pooler's bias and the head",
        "beft_core.training.methods.bias_terms:BiasTerms",
        names_terms=True,
    ),
    "all": MethodRow(
        "every bias of the model and the head (BitFit)",
        "beft_core.training.methods.bias_terms:EveryBias",
        short="all biases",
        every_bias=True,
        # At the whole of a single term's rate, one SST-2 run in two of the bundled model ended at chance.
        rate_shares={"quick": 0.2},
    ),
    "head": MethodRow(
        "only the pooler's bias and the head: what every bias mode trains besides its bias",
        "beft_core.training.methods.bias_terms:BiasTerms",
        short="the head only",
    ),
    "full": MethodRow(
        "every parameter",
        "beft_core.training.methods.full:Full",
        short="every weight",
        changes_weights=True,
        shares_pass=False,
        counts=lambda layout, total: total,
        # The authors' rate for full fine-tuning; five times that is right for the bundled model.
        rates={"paper": 1e-5, "quick": 5e-5},
        usual_rates=(0.0, 1e-4),
    ),
    "random": MethodRow(
        "as many single parameters as one bias term has, drawn over the whole model, and the head",
        "beft_core.training.methods.random_entries:RandomUniform",
        short="random weights",
        changes_weights=True,
        shares_pass=False,
        counts=lambda layout, total: sum(slot.width for slot in layout.slots_of("v") or layout.slots),
    ),
    "none": MethodRow(
        "nothing: a language model as it is answers a task's prompts (zero-shot)",
        "beft_core.training.methods.bias_terms:Nothing",
        short="zero-shot",
        trains=False,
        usual_rates=(0.0, math.inf),
    ),
}
"""Methods by name, the ``mode`` of configurations and snapshots."""

DEFAULT = "terms"
"""Name of the method of a configuration that names none."""
WITHOUT_TERMS: tuple[str, ...] = tuple(name for name, method in METHODS.items() if not method.names_terms)
"""Names of the methods that stand in a list of bias terms under their own name, because they need no terms."""
EVERY_BIAS = next(name for name, method in METHODS.items() if method.every_bias)
ONE_BY_ONE = next(name for name, method in METHODS.items() if method.names_terms)

NOT_TRAINED: dict[str, MethodRow] = {
    "imported": MethodRow("biases of a checkpoint or an adapter", "", short="imported biases"),
    "merged": MethodRow("biases of several fine-tunes in one", "", short="merged biases"),
}
"""Rows for the ``mode`` of snapshots that no fine-tune made: imports and merges."""


def method_of(mode: object) -> MethodRow:
    """Look up the method that a configuration or a snapshot names.

    One that is not known, of a damaged file or of a later version, gets a row that trains nothing.
    """
    name = mode if isinstance(mode, str) else ""
    return METHODS.get(name) or NOT_TRAINED.get(name) or MethodRow("", "")
