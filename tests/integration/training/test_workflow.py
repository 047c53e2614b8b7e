"""Whole jobs on the bundled model: a bank beside single runs, the selection of the paper, and refusals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from training_tools import few_validation_examples

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.training import evaluate, inputs, workflow
from beft_core.training.workflow import Trained, select, train, train_bank

BASE = RunConfig(task="demo-sentiment", n_train=8, epochs=1, device="cpu", evaluate="never", dropout=False)


def test_a_bank_trains_what_each_run_alone_does() -> None:
    other = dataclasses.replace(BASE, terms=("q",), seed=1, lr=1e-3)
    for together, alone in zip(train_bank([BASE, other]), (train(BASE), train(other)), strict=True):
        assert together.snapshot.meta.trained_terms == alone.meta.trained_terms
        for key in alone.keys():  # noqa: SIM118
            np.testing.assert_array_equal(together.snapshot.pre(*key), alone.pre(*key))
            np.testing.assert_allclose(together.snapshot.post(*key), alone.post(*key), atol=1e-5)


def test_the_selection_probes_all_terms_and_trains_the_winner_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "load_data", few_validation_examples(24))
    found = select(BASE, then_train=True)
    assert found.snapshot.meta.mode == "all" and found.snapshot.fisher("encoder", "v") is not None
    winner = found.selected["projection_ratio"]
    assert winner in ("q", "v")  # the key bias is null in this model
    assert found.trained is not None and found.trained.meta.trained_terms == (winner,)
    assert select(BASE).trained is None


def test_more_examples_than_there_are_are_refused() -> None:
    with pytest.raises(UserError, match="at most 4000"):
        train(dataclasses.replace(BASE, n_train=10**6), None)


def test_a_run_that_failed_gives_no_snapshot() -> None:
    snapshot = train(BASE)
    assert Trained(snapshot).sound() is snapshot
    with pytest.raises(FloatingPointError, match="not finite"):
        Trained(snapshot, "the loss was not finite").sound()


def test_notebooks_import_evaluate_from_here_too() -> None:
    assert workflow.evaluate is evaluate.evaluate
