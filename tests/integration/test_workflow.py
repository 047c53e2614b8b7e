"""Whole jobs on the bundled model: what was trained can be put back, scored, merged and refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from beft_core.errors import UserError
from beft_core.merging import merge
from beft_core.snapshot import Snapshot
from beft_core.training.config import RunConfig
from beft_core.training.workflow import evaluate, train, train_bank

BASE = RunConfig(task="demo-sentiment", n_train=32, epochs=2, device="cpu", evaluate="last")


@pytest.fixture(scope="module")
def pair() -> list[Snapshot]:
    """An all-bias run and a v-only run of one bank."""
    return train_bank([dataclasses.replace(BASE, mode="all"), dataclasses.replace(BASE, seed=1)])


def test_putting_a_snapshot_back_gives_the_metric_that_training_reported(pair: list[Snapshot]) -> None:
    for snapshot in pair:
        again = evaluate(snapshot, BASE)
        assert again["accuracy"] == pytest.approx(snapshot.meta.metrics[-1]["accuracy"], abs=0.0021)  # one of 500


def test_the_base_under_the_same_head_is_another_model(pair: list[Snapshot]) -> None:
    untouched = dataclasses.replace(BASE, mode="head", seed=1)
    (head_only,) = train_bank([untouched])
    assert evaluate(head_only, BASE, biases="pre") == evaluate(head_only, BASE)


def test_a_merge_of_a_run_with_itself_is_the_run(pair: list[Snapshot]) -> None:
    merged = merge([pair[1], pair[1]], "mean", terms=("v",))
    assert evaluate(merged, BASE) == evaluate(pair[1], BASE)


def test_refusals(pair: list[Snapshot]) -> None:
    with pytest.raises(UserError, match="without a head for demo-entailment"):
        evaluate(pair[0], dataclasses.replace(BASE, task="demo-entailment"))
    other = dataclasses.replace(pair[0].meta.model, fingerprint="0" * 64)
    foreign = Snapshot.build(
        dataclasses.replace(pair[0].meta, model=other),
        {key: pair[0].pre(*key) for key in pair[0].keys()},  # noqa: SIM118
        {key: pair[0].post(*key) for key in pair[0].keys()},  # noqa: SIM118
        extra=dict(pair[0].extra),
    )
    with pytest.raises(UserError, match="biases differ"):
        evaluate(foreign, BASE)
    full = Snapshot.build(
        dataclasses.replace(pair[0].meta, mode="full"),
        {("encoder", "v"): np.zeros((6, 384))},
        {("encoder", "v"): np.zeros((6, 384))},
    )
    with pytest.raises(UserError, match="weights changed too"):
        evaluate(full, BASE)
    with pytest.raises(UserError, match="at most 4000"):
        train(dataclasses.replace(BASE, n_train=10**6), None)
