"""Methods of fine-tuning, a row for each that says what it trains; without PyTorch, whose classes are only named."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from beft_core.adapter_methods import ADAPTERS, Adapter, Setting
from beft_core.learning_rates import RATES, Rates


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
    needs_biases: bool = True
    """Whether a model without a bias term leaves the method nothing to train, or nothing for its snapshot to hold, even
    where a head is trained.
    """
    every_bias: bool = False
    """Whether the method trains every bias, so that the terms can be compared: such a fine-tune is a probe."""
    changes_weights: bool = False
    """Whether weights of the base model change, which are kept nowhere."""
    adapter: Adapter | None = None
    """Adapter of the PEFT library that the method trains, whose folder is kept beside the snapshot; None: it trains
    parameters of the model itself.
    """
    trains: bool = True
    """Whether anything is trained; otherwise a run scores the model as it is."""
    shares_pass: bool = True
    """Whether runs of the method may share forward passes with other runs, as parts of one bank."""
    alike: tuple[str, ...] = ()
    """Fields of a configuration in which runs that share a pass must agree for this method, though runs of bias terms
    need not.
    """
    counts: Callable[[Any, int], int] = lambda layout, total: 0
    """Count of the parameters that the method trains besides bias terms, from the model's layout and the parameters of
    its backbone.
    """
    usual_rates: tuple[float, float] = (1e-4, math.inf)
    """Learning rates between which a fine-tune is usual, both included: the authors' are 1e-4 to 1e-3 for biases and
    1e-5 for every weight, and small models want more.
    """
    rates: Rates | None = None
    """Learning rates in which the method is searched, and what presets take of them; None: it trains nothing."""

    @property
    def beyond_biases(self) -> bool:
        """Whether more than biases is trained, so that a snapshot is not the whole result."""
        return self.changes_weights or self.adapter is not None

    @property
    def before_text(self) -> bool:
        """Whether the method puts vectors before the text, so that its passes are not those of the model alone."""
        return self.adapter is not None and not self.adapter.wraps

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Numbers that the method has besides those of every fine-tune."""
        return () if self.adapter is None else self.adapter.settings

    @property
    def trains_terms(self) -> bool:
        """Whether the method trains bias terms of the layers, and so none that is certified null."""
        return self.names_terms or self.every_bias

    def terms(self, named: Sequence[str], available: Sequence[str]) -> tuple[str, ...]:
        """Select the bias terms that the method trains: those ``named``, all that are ``available``, or none."""
        return tuple(named if self.names_terms else available if self.every_bias else ())


def _as_one_term(layout: Any, total: int) -> int:
    """Count as many parameters as the value biases have, or all biases of a model without these."""
    return sum(slot.width for slot in layout.slots_of("v") or layout.slots)


def _adapter(name: str, words: str, short: str, of_bank: str = "") -> MethodRow:
    """Make the row of an adapter. ``of_bank``: its implementation where several of its runs can share a pass."""
    return MethodRow(
        words,
        of_bank or "beft_core.training.methods.adapters:AdapterMethod",
        short=short,
        adapter=ADAPTERS[name],
        shares_pass=bool(of_bank),
        alike=("mode", "layers"),
        usual_rates=(1e-5, math.inf),
    )


_ROWS: dict[str, MethodRow] = {
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
    ),
    "head": MethodRow(
        "only the pooler's bias and the head: what every bias mode trains besides its bias",
        "beft_core.training.methods.bias_terms:BiasTerms",
        short="the head only",
        needs_biases=False,
    ),
    "full": MethodRow(
        "every parameter",
        "beft_core.training.methods.full:Full",
        short="every weight",
        needs_biases=False,
        changes_weights=True,
        shares_pass=False,
        counts=lambda layout, total: total,
        usual_rates=(0.0, 1e-4),
    ),
    "random": MethodRow(
        "as many single parameters as one bias term has, drawn over the whole model, and the head",
        "beft_core.training.methods.random_entries:RandomUniform",
        short="random weights",
        changes_weights=True,
        shares_pass=False,
        counts=_as_one_term,
    ),
    "fish": MethodRow(
        "as many single parameters as one bias term has, those of the largest Fisher information, and the head "
        "(FISH mask)",
        "beft_core.training.methods.random_entries:FishMask",
        short="FISH mask",
        changes_weights=True,
        shares_pass=False,
        counts=_as_one_term,
    ),
    "fish-biases": MethodRow(
        "as many single biases as one bias term has, those of the largest Fisher information, and the head",
        "beft_core.training.methods.random_entries:FishMaskOfBiases",
        short="FISH biases",
        changes_weights=True,
        shares_pass=False,
        counts=_as_one_term,
    ),
    "none": MethodRow(
        "nothing: a language model as it is answers a task's prompts (zero-shot)",
        "beft_core.training.methods.bias_terms:Nothing",
        short="zero-shot",
        trains=False,
        usual_rates=(0.0, math.inf),
    ),
    "lora": _adapter(
        "lora",
        "low-rank changes of weight matrices (LoRA)",
        "LoRA",
        of_bank="beft_core.training.methods.lora_bank:Lora",
    ),
    "dora": _adapter("dora", "low-rank changes of the directions of weights, and their lengths (DoRA)", "DoRA"),
    "vera": _adapter("vera", "vectors that scale random low-rank changes, shared by all layers (VeRA)", "VeRA"),
    "ia3": _adapter("ia3", "vectors that scale keys, values and the inner states of the MLP (IA3)", "IA3"),
    "prefix": _adapter("prefix", "keys and values before the text in every layer (prefix tuning)", "prefix"),
    "prompt-tuning": _adapter("prompt-tuning", "embeddings before the text (prompt tuning)", "prompt tuning"),
    "ln-tuning": _adapter("ln-tuning", "weights and biases of LayerNorms (LN-tuning)", "LayerNorms"),
    "peft-beft": _adapter("peft-beft", "bias vectors as PEFT's own BEFT adds them", "PEFT's BEFT"),
}
METHODS: dict[str, MethodRow] = {name: replace(row, rates=RATES.get(name)) for name, row in _ROWS.items()}
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
