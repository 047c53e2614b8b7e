"""Fine-tunes of the bundled model put back on it: scored, merged and refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from training_tools import few_validation_examples

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.merging.merge import merge
from beft_core.models import biases
from beft_core.snapshots.snapshot import Snapshot
from beft_core.training import inputs
from beft_core.training.evaluate import evaluate
from beft_core.training.workflow import train, train_bank

BASE = RunConfig(task="demo-sentiment", n_train=16, epochs=2, device="cpu", evaluate="last")
EXAMPLES = 48
"""Of the validation set."""


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Few validation examples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs, "load_data", few_validation_examples(EXAMPLES))
        yield


@pytest.fixture(scope="module")
def pair() -> list[Snapshot]:
    """An all-bias run and a v-only run of one bank."""
    return [
        one.snapshot for one in train_bank([dataclasses.replace(BASE, mode="all"), dataclasses.replace(BASE, seed=1)])
    ]


def test_putting_a_snapshot_back_gives_the_metric_that_training_reported(pair: list[Snapshot]) -> None:
    for snapshot in pair:
        again = evaluate(snapshot, BASE)
        assert again["accuracy"] == pytest.approx(
            snapshot.meta.metrics[-1]["accuracy"], abs=1.05 / EXAMPLES
        )  # one of them


def test_the_base_under_the_same_head_is_another_model(pair: list[Snapshot]) -> None:
    untouched = dataclasses.replace(BASE, mode="head", seed=1)
    head_only = train(untouched)
    assert evaluate(head_only, BASE, biases="pre") == evaluate(head_only, BASE)


def test_the_base_is_scored_with_its_own_biases(pair: list[Snapshot], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[biases.Biases] = []

    def record(model: biases.LoadedModel, *_: object, **__: object) -> Callable[[], dict[str, float]]:
        seen.append(biases.biases(model))
        return dict

    monkeypatch.setattr("beft_core.training.evaluate.scorer", record)
    for which in ("pre", "post"):
        evaluate(pair[0], BASE, biases=which)
    for found, expected in zip(seen, (pair[0].pre, pair[0].post), strict=True):
        for key in pair[0].keys():  # noqa: SIM118
            np.testing.assert_array_equal(found[key], expected(*key))
    assert (pair[0].pre("encoder", "v") != pair[0].post("encoder", "v")).all()


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
