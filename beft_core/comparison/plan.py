"""Plan of a comparison, made before PyTorch is started: which methods apply, and on what they are tried and judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from beft_core.comparison.entries import Entry
from beft_core.comparison.spec import ComparisonSpec
from beft_core.errors import UserError
from beft_core.models.source import BUNDLED, locate
from beft_core.tasks.constant_answer import constant_answer
from beft_core.training.observer import Observer
from beft_core.training.preconditions import read_data, require_model, require_something_to_train


@dataclass(frozen=True)
class Plan:
    """Plan of a comparison."""

    entries: tuple[Entry, ...]
    """All methods that were asked for."""
    refused: Mapping[str, str]
    """Reason why a method does not apply here, by its name in sweeps (``trains``)."""
    rows: int
    """Training examples that there are."""
    held_out: int
    """Training examples that the trials are scored on."""
    left: int
    """Training examples that a trial may train on: those that share no text with the held-out ones."""
    reported_on: int
    """Validation examples that the result is of."""
    n_train: int
    """Training examples of a reported fine-tune."""
    same_lr: float
    """The one rate for all."""
    constant: float
    """Metric of the best constant answer on the validation examples."""

    @property
    def applying(self) -> list[Entry]:
        """Methods that apply."""
        return [entry for entry in self.entries if entry.trains not in self.refused]


def plan(spec: ComparisonSpec, observer: Observer) -> Plan:
    """Read the data and the model's description, and check each method against them.

    Raises:
        UserError: no such task, data or model, too few examples, or not one method that applies.
    """
    model = str(spec.settings.get("model", BUNDLED))
    observer.stage("find the model")
    locate(model)
    entries = spec.entries()
    observer.stage("load data")
    first = spec.run_of(entries[0])
    data = read_data(first)
    observer.stage("check the methods", len(entries))
    refused = {}
    for entry in entries:
        try:
            config = spec.run_of(entry)
            require_model(config, Observer())
            require_something_to_train(config, data.spec)
            if config.demonstrations > len(data.train):
                raise UserError(
                    f"got {config.demonstrations} demonstrations", f"at most {len(data.train)}, the training examples"
                )
        except UserError as error:
            refused[entry.trains] = str(error)
        observer.advance()
    if len(refused) == len(entries):
        raise UserError(f"got no method that applies here: {refused[entries[0].trains]}")
    rows, wanted = len(data.train), spec.examples()
    reported = next(iter(data.limited(first.n_eval).evals.values()))
    if wanted is not None and wanted > rows:
        raise UserError(f"got --n-train {wanted:,}", f"at most {rows:,}, the examples that there are")
    held_out = spec.held_out(rows)
    return Plan(
        tuple(entries),
        refused,
        rows,
        held_out,
        len(data.held_out(held_out).train),
        len(reported),
        rows if wanted is None else wanted,
        spec.usual_rate() if spec.same_lr is None else spec.same_lr,
        constant_answer(np.asarray(reported.labels), data.spec.metrics[0], reported.golds),
    )
