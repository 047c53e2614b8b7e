"""Dials of language models: equal to single evaluations, for candidates, for several right ones and for free text."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from example_decoder import write_decoder, write_reviews

from beft_core.config import RunConfig
from beft_core.dials import in_words
from beft_core.dials.config import DialConfig
from beft_core.dials.measure import measure
from beft_core.dials.parts import ALL, Part
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.examples import TaskData
from beft_core.training import inputs, workflow
from beft_core.training.evaluate import evaluate

LAMBDAS = (0.0, 0.5, 1.0)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], tuple[Snapshot, RunConfig]]:
    """A fine-tune of b_v, added to a tiny Llama, on candidates or on free text."""
    folder = tmp_path_factory.mktemp("dials")
    model, table = write_decoder(folder / "tiny"), write_reviews(folder / "reviews.jsonl")

    def train(writes: bool) -> tuple[Snapshot, RunConfig]:
        config = RunConfig(
            model=str(model),
            train_file=str(table),
            prompt="{review} It was",
            label="why" if writes else "verdict",
            candidates=None if writes else ("neg=terrible", "pos=great"),
            name="reviews",
            terms=("v",),
            add_bias=("v",),
            epochs=2,
            lr=0.3,
            max_length=128,
            device="cpu",
        )
        return workflow.train(config), config

    return train


@pytest.mark.parametrize("writes", [False, True], ids=["candidates", "free text"])
def test_every_number_is_that_of_a_single_evaluation(
    writes: bool, tuned: Callable[[bool], tuple[Snapshot, RunConfig]]
) -> None:
    snapshot, run = tuned(writes)
    data = inputs.load_data(run)
    dial = measure(snapshot, DialConfig.of(snapshot, "reviews", lambdas=LAMBDAS, device="cpu"), data=data)
    assert dial.metric == ("answer_f1" if writes else "accuracy") and dial.terms == ("v",)
    assert [curve.part for curve in dial.curves] == ([ALL] if writes else [ALL, Part(layer=0), Part(layer=1)])

    def alone(factors: np.ndarray) -> float:
        pre, post = snapshot.pre("decoder", "v"), snapshot.post("decoder", "v")
        turned = Snapshot.build(
            snapshot.meta,
            {("decoder", "v"): pre},
            {("decoder", "v"): (pre + factors[:, None] * (post - pre)).astype(np.float32)},
            extra=dict(snapshot.extra),
        )
        return evaluate(turned, run, data=data)[dial.metric]

    for factor, value in zip(dial.lambdas, dial.curves[0].values, strict=True):
        assert value == pytest.approx(alone(np.full(2, factor)), abs=1e-6)
    for layer, off in enumerate(dial.off_parts("layers")):
        assert off.value == pytest.approx(alone(np.where(np.arange(2) == layer, 0.0, 1.0)), abs=1e-6)
    assert "nothing to turn" not in in_words.verdict(dial)


def test_several_candidates_may_be_right(tuned: Callable[[bool], tuple[Snapshot, RunConfig]]) -> None:
    snapshot, run = tuned(False)
    data = inputs.load_data(run)
    part = data.evals["validation"]
    every = dataclasses.replace(part, golds=[(0, 1)] * len(part))
    both = TaskData(data.spec, data.train, {"validation": every}, data.source)
    dial = measure(snapshot, DialConfig.of(snapshot, "reviews", lambdas=LAMBDAS, device="cpu"), data=both)
    assert dial.trained == dial.trained_low == dial.trained_high == 1.0
