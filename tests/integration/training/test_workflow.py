"""Whole jobs on the bundled model: a bank beside single runs, the selection of the paper, and refusals."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from training_tools import few_validation_examples

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.merging.config import recorded
from beft_core.scores.approaches import APPROACHES, PAPER
from beft_core.tasks.examples import Examples
from beft_core.tasks.load import load_task
from beft_core.tasks.predictions import Predictions, example_keys
from beft_core.training import evaluate, inputs, workflow
from beft_core.training.batches.encoded import Encoded
from beft_core.training.objectives.classification import Classification
from beft_core.training.observer import Observer
from beft_core.training.workflow import Trained, select, train, train_bank

BASE = RunConfig(task="demo-sentiment", n_train=8, epochs=1, device="cpu", evaluate="never", dropout=False)


def test_a_bank_trains_what_each_run_alone_does() -> None:
    other = dataclasses.replace(BASE, terms=("q",), seed=1, lr=1e-3)
    for together, alone in zip(train_bank([BASE, other]), (train(BASE), train(other)), strict=True):
        assert together.snapshot.meta.trained_terms == alone.meta.trained_terms
        for key in alone.keys():  # noqa: SIM118
            np.testing.assert_array_equal(together.snapshot.pre(*key), alone.pre(*key))
            np.testing.assert_allclose(together.snapshot.post(*key), alone.post(*key), atol=1e-5)


def test_an_example_that_several_runs_draw_is_tokenised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, list[str]]] = []
    real = Classification.encode

    def encode(self: Classification, model: Any, examples: Examples, *given: Any, **named: Any) -> Encoded:
        told.append(("train" if named.get("training") else "validation", list(examples.text)))
        return real(self, model, examples, *given, **named)

    monkeypatch.setattr(Classification, "encode", encode)
    runs = [dataclasses.replace(BASE, n_train=100, seed=seed) for seed in range(3)]
    heard = Heard()
    train_bank(runs, heard)
    data = load_task("demo-sentiment")
    drawn = {text for run in runs for text in inputs.sample(run.resolved(), data.train).text}
    ((kind, texts),) = told
    assert kind == "train" and len(texts) == len(drawn) < 300 and set(texts) == drawn
    assert heard.tokenised == (len(drawn), len(drawn))


class Heard(Observer):
    """What is said of the stage in which texts are tokenised: how many there are, and how many were."""

    def __init__(self) -> None:
        self.name = ""
        self.tokenised: tuple[int | None, int] = (None, 0)

    def stage(self, name: str, total: int | None = None) -> None:
        self.name = name
        if name == "tokenise":
            self.tokenised = total, 0

    def advance(self, n: int = 1) -> None:
        if self.name == "tokenise":
            self.tokenised = self.tokenised[0], self.tokenised[1] + n

    def should_stop(self) -> bool:
        return True  # before the first step


def test_a_run_that_shares_no_pass_makes_all_go_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(workflow, "stands_alone", lambda config, layout: config.terms == ("q",))
    fitted: list[tuple[int, object]] = []
    real = workflow.fit_bank

    def fit(*given: Any, checkpoint: Path | None, **named: Any) -> list[Trained]:
        fitted.append((len(given[2]), checkpoint))
        return real(*given, checkpoint=checkpoint, **named)

    monkeypatch.setattr(workflow, "fit_bank", fit)
    other = dataclasses.replace(BASE, terms=("q",), seed=1)
    v, q = train_bank([BASE, other], checkpoint=tmp_path / "checkpoint")
    assert fitted == [(1, None)] * 2
    assert (v.snapshot.meta.trained_terms, q.snapshot.meta.trained_terms) == (("v",), ("q",))
    assert (v.snapshot.meta.seed, q.snapshot.meta.seed) == (0, 1)


def test_the_selection_probes_all_terms_and_trains_the_winner_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "load_data", few_validation_examples(24))
    placed, place = [], inputs.placement_for  # type: ignore[var-annotated]
    monkeypatch.setattr(inputs, "placement_for", lambda runs, exact=False: placed.append(exact) or place(runs, exact))
    found = select(BASE, then_train=True)
    assert placed == [False, True, False]  # the probe, its output change, the winner
    assert found.snapshot.meta.mode == "all" and found.snapshot.fisher("encoder", "v") is not None
    winner = found.selected["projection_ratio"]
    assert winner in ("q", "v")  # the key bias is null in this model
    assert found.trained is not None and found.trained.meta.trained_terms == (winner,)
    change = {term: found.snapshot.output_change("encoder", term) for term in "qkv"}
    assert all(values is not None and values.shape == (6,) for values in change.values())
    assert not change["k"].any() and change["v"].all() and change["q"].all()  # type: ignore[union-attr]
    assert set(found.selected) == set(APPROACHES)

    verdict = workflow.check(found.snapshot, BASE)
    assert set(verdict.values) == {"q", "k", "v"} and verdict.null == ("k",) and verdict.examples == 24
    assert verdict.selected == found.selected and verdict.is_right() is (winner in verdict.best)


def test_a_probe_without_candidates_cannot_be_checked() -> None:
    with pytest.raises(UserError, match="a probe without b_q, b_k and b_v to check"):
        workflow.check(SimpleNamespace(keys=lambda: [("encoder", "o")]), BASE)  # type: ignore[arg-type]


def test_a_probe_of_the_rewritten_model_ends_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two models compute the same, but biases ten times as long hardly turn, and those a tenth as long do."""
    monkeypatch.setattr(inputs, "load_data", few_validation_examples(24))
    config = dataclasses.replace(BASE, n_train=32, epochs=4, evaluate="last")
    as_it_is, rewritten = (select(dataclasses.replace(config, rewrite_scale=scale)) for scale in (None, 10.0))
    was, now = (found.scores.mean_scores(PAPER) for found in (as_it_is, rewritten))
    assert now["v"] < was["v"] / 10 and now["q"] > 10 * was["q"]
    assert (as_it_is.selected[PAPER], rewritten.selected[PAPER]) == ("v", "q")
    metas = [found.snapshot.meta for found in (as_it_is, rewritten)]
    assert metas[0].model.fingerprint != metas[1].model.fingerprint
    assert metas[1].hyperparameters["rewrite_scale"] == 10 and "rewrite_scale" not in metas[0].hyperparameters
    evaluated = dataclasses.replace(BASE, **recorded([rewritten.snapshot]), evaluate="last")
    assert evaluate.evaluate(rewritten.snapshot, evaluated)["accuracy"] == metas[1].metrics[-1]["accuracy"]
    with pytest.raises(UserError, match="differ from those"):
        evaluate.evaluate(rewritten.snapshot, BASE)


class Listening(Observer):
    def __init__(self, steps: int = 10**9) -> None:
        self.found: dict[int, Predictions] = {}
        self.steps = steps

    def predicted(self, predictions: Predictions, run: int = 0) -> None:
        self.found[run] = predictions

    def step(self, step: int, total: int, losses: Sequence[float]) -> None:
        self.steps -= 1

    def should_stop(self) -> bool:
        return self.steps <= 0


def test_runs_tell_what_they_predict_at_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "load_data", few_validation_examples(24))
    config = dataclasses.replace(BASE, evaluate="last", epochs=2)
    told = Listening()
    runs = train_bank([config, dataclasses.replace(config, seed=1)], told)
    data = inputs.load_data(config).evals["validation"]
    for run, trained in enumerate(runs):
        found = told.found[run]
        np.testing.assert_array_equal(found.keys, example_keys(data))
        np.testing.assert_array_equal(found.labels, data.labels)
        assert (found.predicted == found.labels).mean() == trained.snapshot.meta.metrics[-1]["accuracy"]
    for silent, settings in ((Listening(), {"evaluate": "never"}), (Listening(0), {})):
        train(dataclasses.replace(config, **settings), silent)
        assert not silent.found  # never scored, and stopped before its end


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
