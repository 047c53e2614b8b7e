"""Fine-tunes of the bundled model put back on it: scored, merged and refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from example_decoder import asked_fine_tune, write_decoder, write_varied_copa
from training_tools import few_validation_examples

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.merging.config import recorded
from beft_core.merging.merge import merge
from beft_core.models import biases
from beft_core.models.load import load_model
from beft_core.snapshots.snapshot import Snapshot
from beft_core.training import inputs
from beft_core.training.evaluate import evaluate, load_base
from beft_core.training.workflow import train, train_bank

BASE = RunConfig(task="demo-sentiment", n_train=16, epochs=2, device="cpu", evaluate="last")
V = ("decoder", "v")
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


def test_demonstrations_before_the_prompts_are_put_there_again(tmp_path: Path) -> None:
    write_varied_copa(tmp_path, 100)
    given = {"data_dir": str(tmp_path), "device": "cpu", "task": "prompt-copa"}
    model = write_decoder(tmp_path / "decoder")
    two, none = (
        train(RunConfig(model=str(model), mode="none", add_bias=("v",), demonstrations=count, max_length=256, **given))
        for count in (2, 0)
    )
    assert two.meta.metrics[-1]["accuracy"] != none.meta.metrics[-1]["accuracy"]
    for one in (two, none):
        found = evaluate(one, RunConfig(**recorded([one], "prompt-copa") | given))
        assert found["accuracy"] == one.meta.metrics[-1]["accuracy"]


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


def test_a_fine_tune_of_another_model_of_its_type_and_size_is_refused(tmp_path: Path) -> None:
    own, other = (write_decoder(tmp_path / name, seed) for seed, name in enumerate(("own", "other")))
    snapshot = asked_fine_tune(load_model(str(own)), candidates=("a", "b"))
    run = RunConfig(task="demo-sentiment", device="cpu", add_bias=("v",))
    assert load_base(snapshot, dataclasses.replace(run, model=str(own))).info.weights == snapshot.meta.model.weights
    with pytest.raises(UserError, match=r"got the base model .*other, whose weights differ from those the snapshot"):
        load_base(snapshot, dataclasses.replace(run, model=str(other)))
    before = dataclasses.replace(snapshot.meta, model=dataclasses.replace(snapshot.meta.model, weights=None))
    old = Snapshot.build(before, {V: snapshot.pre(*V)}, {V: snapshot.post(*V)})
    load_base(old, dataclasses.replace(run, model=str(other)))  # a file of before the field: nobody can tell
