"""Logits and metrics of validation sets: each example as if it were alone, in its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny
from training_tools import examples

from beft_core.training import predict
from beft_core.training.batches.encoded import Encoded, Writing
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.precision import Precision
from beft_core.training.predict import EVAL_TOKENS, Predictor
from beft_core.training.session import Session

CPU = torch.device("cpu")


def two_runs() -> Bank:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    bank = Bank(model, model.layout.slots_of("v"), runs=2, classes=3, precision=Precision("float32", CPU))
    with torch.no_grad():
        bank.values += torch.randn(bank.values.shape, generator=torch.Generator().manual_seed(1)) * 0.1
    return bank


def test_examples_keep_their_places_in_passes_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    bank, encoded, done = two_runs(), examples(12, 7), []
    predictor = Predictor(bank, {}, {}, Session(CPU), done.append)
    with bank.installed():
        together = [predictor.predict(encoded, run) for run in (0, 1)]
        monkeypatch.setitem(EVAL_TOKENS, "cpu", 1)  # every example alone
        single = Predictor(bank, {}, {}, Session(CPU)).predict(encoded, 1)
    assert together[1].shape == (12, 3) and together[1].dtype == np.float32
    np.testing.assert_allclose(together[1], single, atol=2e-6)
    assert np.abs(together[0] - together[1]).max() > 1e-2
    assert sum(done) == 24


def test_metrics_see_every_set_under_its_own_name() -> None:
    bank, session = two_runs(), Session(CPU)
    evals = {"matched": examples(4, 1), "mismatched": examples(3, 2)}

    def count(name: str):
        return lambda logits, some: {f"n_{name}": float(len(logits)), f"labels_{name}": float(some.labels.sum())}

    told: list[tuple[int, int]] = []
    predictor = Predictor(
        bank, evals, {name: count(name) for name in evals}, session, validating=lambda *now: told.append(now)
    )
    with bank.installed():
        found = predictor.evaluate()
        assert told == [(4, 7), (7, 7)]
        predictor.predict(evals["matched"])
        assert len(told) == 2  # no evaluation, so nothing to tell
    assert found["n_matched"] == 4 and found["n_mismatched"] == 3
    assert found["labels_matched"] == float(evals["matched"].labels.sum())


def test_nothing_drops_and_training_goes_on_afterwards() -> None:
    bank = two_runs()
    backbone = bank.model.backbone.train()
    with bank.installed():
        twice = [Predictor(bank, {}, {}, Session(CPU)).predict(examples(5, 1)) for _ in range(2)]
    assert np.array_equal(*twice) and backbone.training


def test_texts_are_written_as_in_an_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled layers would be compiled anew for every length that a text reaches."""
    entered: list[str] = []

    class Noted(Session):
        @contextmanager
        def evaluating(self) -> Iterator[None]:
            entered.append("evaluation")
            yield
            entered.append("end")

    class Fake:
        def __init__(self, *_: Any) -> None: ...

        def texts(self, encoded: Encoded, run: int) -> list[str]:
            entered.append("texts")
            return ["a"] * len(encoded)

    monkeypatch.setattr(predict, "Writer", Fake)
    written = Predictor(two_runs(), {}, {}, Noted(CPU)).write(examples(3, 1), Writing(4, "\n"), 1)
    assert written == ["a"] * 3 and entered == ["evaluation", "texts", "end"]
