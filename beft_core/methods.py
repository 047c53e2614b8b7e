"""What a fine-tune can train: one row per method, without PyTorch; what a row needs of it is a class that it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class MethodRow:
    """One thing that can be trained, besides the head."""

    words: str
    """What it trains, as a choice is explained."""
    implementation: str
    """``module:class``, a subclass of :class:`beft_core.training.methods.base.Method`."""
    short: str = ""
    """What it trains, in lists of runs; empty: the terms are named."""
    names_terms: bool = False
    """Whether the configuration says which bias terms of the layers it trains."""
    every_bias: bool = False
    """Whether it trains every bias, so that the terms can be compared: such a fine-tune is a probe."""
    changes_weights: bool = False
    """Whether more than biases changes, so that a snapshot is not the whole result."""
    shares_pass: bool = True
    """Whether its runs may stand in a bank with others."""
    counts: Callable[[Any, int], int] = lambda layout, total: 0
    """(layout of the model, parameters of its backbone) -> how many it trains besides bias terms."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Preset -> its learning rate for every task, where that is not the task's."""
    rate_shares: Mapping[str, float] = field(default_factory=dict)
    """Preset -> the share of the task's learning rate that it takes, where that is not the whole."""

    @property
    def trains_terms(self) -> bool:
        """Whether it trains bias terms of the layers, and so nothing of them that is null."""
        return self.names_terms or self.every_bias

    def terms(self, named: Sequence[str], available: Sequence[str]) -> tuple[str, ...]:
        """Select the bias terms that it trains: those that are ``named``, all that are ``available``, or none."""
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
    ),
    "random": MethodRow(
        "as many single parameters as one bias term has, drawn over the whole model, and the head",
        "beft_core.training.methods.random_entries:RandomUniform",
        short="random weights",
        changes_weights=True,
        shares_pass=False,
        counts=lambda layout, total: sum(slot.width for slot in layout.slots_of("v") or layout.slots),
    ),
}
"""Name, which stands as ``mode`` in configurations and snapshots -> method."""

DEFAULT = "terms"
"""What a configuration without a name means."""
WITHOUT_TERMS: tuple[str, ...] = tuple(name for name, method in METHODS.items() if not method.names_terms)
"""Names that stand for themselves where otherwise bias terms are named."""
EVERY_BIAS = next(name for name, method in METHODS.items() if method.every_bias)
ONE_BY_ONE = next(name for name, method in METHODS.items() if method.names_terms)

NOT_TRAINED: dict[str, MethodRow] = {
    "imported": MethodRow("biases of a checkpoint or an adapter", "", short="imported biases"),
    "merged": MethodRow("biases of several fine-tunes in one", "", short="merged biases"),
}
"""Names in snapshots that no fine-tune made."""


def method_of(mode: object) -> MethodRow:
    """Look up the method that a configuration or a snapshot names.

    One that is not known, of a damaged file or of a later version, gets a row that trains nothing.
    """
    name = mode if isinstance(mode, str) else ""
    return METHODS.get(name) or NOT_TRAINED.get(name) or MethodRow("", "")
