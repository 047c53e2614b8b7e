"""Which runs of a bank share a measurement, and that each has that of its own examples and head."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from tiny_models import tiny
from training_tools import CLASSIFICATION, config, examples

from beft_core.training.batches.reader import Reader
from beft_core.training.fisher.information import fisher_information
from beft_core.training.fisher.of_runs import fisher_of_runs
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.objectives.registry import objective_of
from beft_core.training.observer import Observer
from beft_core.training.precision import Precision

CPU = Precision("float32", torch.device("cpu"))


class Stages(Observer):
    def __init__(self) -> None:
        self.begun: list[tuple[str, int | None]] = []

    def stage(self, name: str, total: int | None = None) -> None:
        self.begun.append((name, total))


def measured(
    *configs: Any, trains: list[Any] | None = None, observer: Observer | None = None
) -> tuple[Bank, list[Any]]:
    """What a bank of runs with these settings measures before its first step."""
    model, objective = tiny("bert", dtype=torch.float32), objective_of(CLASSIFICATION)
    bank = Bank(model, model.layout.slots, runs=len(configs), classes=objective.outputs, precision=CPU)
    for run, one in enumerate(configs):
        bank.init_head(run, one.seed)
    trains = trains or [examples(6, 10 + one.seed) for one in configs]
    found = fisher_of_runs(configs, model, bank, objective, trains, CPU, observer or Observer(), Reader())
    return bank, found


def test_each_run_has_that_of_its_own_examples_and_head() -> None:
    configs = [config(fisher=True, seed=seed) for seed in (0, 1)]
    bank, found = measured(*configs)
    for run, (one, information) in enumerate(zip(configs, found, strict=True)):
        head = {name: bank.value(name, run) for name in bank.parts if name.startswith("head.")}
        likelihood = objective_of(CLASSIFICATION).log_likelihood
        model = tiny("bert", dtype=torch.float32)
        alone = fisher_information(model, model.layout.slots, examples(6, 10 + one.seed), head, likelihood, CPU)
        np.testing.assert_array_equal(information.exact["encoder", "v"], alone.exact["encoder", "v"])
    assert (found[0].exact["encoder", "v"] != found[1].exact["encoder", "v"]).any()


def test_runs_of_other_rates_and_terms_share_one_measurement() -> None:
    observer = Stages()
    one = config(fisher=True)
    configs = [one, config(), dataclasses.replace(one, lr=0.5, terms=("q",)), dataclasses.replace(one, seed=1)]
    _, found = measured(*configs, observer=observer)
    assert found[0] is found[2] and found[1] is None and found[3] is not found[0]
    assert observer.begun == [("measure Fisher information", 12)]


def test_only_the_first_examples_count_where_a_number_is_given() -> None:
    _, (few,) = measured(config(fisher=True, fisher_examples=4))
    _, (same,) = measured(config(fisher=True), trains=[examples(6, 10).take(range(4))])
    assert few.examples == 4
    np.testing.assert_array_equal(few.exact["encoder", "q"], same.exact["encoder", "q"])


def test_nothing_is_begun_where_no_run_wants_it() -> None:
    observer = Stages()
    assert measured(config(), config(seed=1), observer=observer)[1] == [None, None] and not observer.begun
