"""What a run leaves, read out of a bank of known values: biases, head, trajectory, and what is said about it."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
import torch
from tiny_models import tiny
from training_tools import config, examples, fit, toy_data

from beft_core.errors import UserError
from beft_core.training.job import Job, Outcome
from beft_core.training.methods.base import method_for
from beft_core.training.methods.bias_bank import Bank, slot_name
from beft_core.training.precision import Precision
from beft_core.training.result import (
    HYPERPARAMETERS,
    Start,
    device_name,
    head_tensors,
    put_head,
    snapshot_of,
    software_versions,
    trajectory_of,
)

CPU = Precision("float32", torch.device("cpu"))


def bank_of(name: str, runs: int = 1, outside: bool = False) -> Bank:
    """A bank of all bias terms with every value its own."""
    model = tiny(name, dtype=torch.float32)
    bank = Bank(model, model.layout.slots, runs=runs, classes=2, precision=CPU, outside_biases=outside)
    with torch.no_grad():
        bank.values.copy_(torch.arange(bank.values.numel(), dtype=torch.float32).view_as(bank.values) / 100)
    return bank


def test_a_snapshot_takes_what_the_run_trained_from_the_bank_and_the_rest_from_the_model() -> None:
    bank = bank_of("bert", runs=2)
    start = Start.of(bank.model, toy_data())
    assert start.null == ("k",)
    slots = [slot for slot in bank.model.layout.slots if (slot.term, slot.layer) in (("v", 1), ("q", 0))]
    run = config(mode="all", terms=(), seed=3)
    job = Job(run, examples(6, 1), {slot_name(slot) for slot in slots} | method_for(run).parts(bank))
    outcome = Outcome([{"epoch": 1, "accuracy": 0.5}], 4, True, None)
    weights = method_for(run).weights(bank.model, lambda _: [])
    found = snapshot_of(start, bank, 1, job, outcome, slots, start.biases, None, weights, 1.25)
    for slot in bank.model.layout.slots:
        post = found.post(slot.stack, slot.term)[slot.layer]
        before = start.biases[slot.stack, slot.term][slot.layer]
        np.testing.assert_array_equal(post, bank.value(slot_name(slot), 1) if slot in slots else before)
        np.testing.assert_array_equal(found.pre(slot.stack, slot.term)[slot.layer], before)
    meta = found.meta
    assert meta.trained_terms == ("q", "v") and meta.n_train == 6 and meta.seed == 3 and meta.null_terms == ("k",)
    assert meta.hyperparameters["steps"] == 4 and meta.hyperparameters["stopped_early"] is True
    assert set(HYPERPARAMETERS) < set(meta.hyperparameters) and "plain" not in meta.hyperparameters
    assert meta.total_parameters == sum(p.numel() for p in bank.model.backbone.parameters())
    assert meta.wall_seconds is None
    assert meta.hyperparameters["lr_source"].startswith("given; preset quick has ")
    usual = replace(run, lr=replace(run, lr=None).resolved().lr)
    again = snapshot_of(start, bank, 1, replace(job, config=usual), outcome, slots, start.biases, None, weights, 1.25)
    assert "a fifth of a single term's" in again.meta.hyperparameters["lr_source"]


def test_wall_seconds_and_the_plain_algorithm_are_stated_where_they_are_wanted() -> None:
    (snapshot,) = fit("bert", config(plain=True, record_wall_seconds=True, epochs=1))
    assert snapshot.meta.hyperparameters["plain"] is True and snapshot.meta.wall_seconds is not None


@pytest.mark.parametrize("name", ["bert", "gpt_neox", "modernbert"])
def test_a_head_that_is_put_back_is_the_one_that_was_kept(name: str) -> None:
    bank = bank_of(name, runs=2, outside=True)
    kept = head_tensors("toy", bank, 1, set(bank.parts))
    assert all(key.startswith("extra.toy.") for key in kept)
    assert sum(key.startswith("extra.toy.outside") for key in kept) == 1  # joined into one
    model = tiny(name, dtype=torch.float32)
    again = Bank(model, [], runs=1, classes=2, precision=CPU, outside_biases=True)
    put_head({key.removeprefix("extra.toy."): value for key, value in kept.items()}, again)
    for part in again.parts:
        np.testing.assert_array_equal(again.value(part), bank.value(part, 1))


def test_only_what_the_run_owns_is_kept() -> None:
    bank = bank_of("bert", outside=True)
    kept = head_tensors("toy", bank, 0, {"head.weight", slot_name(bank.model.layout.slots[0])})
    assert list(kept) == ["extra.toy.head.weight"]


def test_a_head_that_does_not_fit_is_refused() -> None:
    bank = bank_of("bert", outside=True)
    head = {key.removeprefix("extra.toy."): v for key, v in head_tensors("toy", bank, 0, set(bank.parts)).items()}
    with pytest.raises(UserError, match=re.escape("got head.weight of shape (3, ")):
        put_head({**head, "head.weight": np.zeros((3, head["head.weight"].shape[1]), np.float32)}, bank)
    with pytest.raises(UserError, match="biases outside of the layers"):
        put_head({**head, "outside.bias": np.zeros(1, np.float32)}, bank)
    with pytest.raises(UserError, match=r"a head without head\.bias"):
        put_head({name: value for name, value in head.items() if name != "head.bias"}, bank)
    with pytest.raises(UserError, match="got magic of shape"):
        put_head({**head, "magic": np.zeros(1, np.float32)}, bank)


def test_a_trajectory_follows_the_trained_layers_and_keeps_the_others() -> None:
    layout = tiny("bert").layout
    slot = next(slot for slot in layout.slots if (slot.term, slot.layer) == ("v", 1))
    before = {(slot.stack, "v"): np.arange(layout.layers * slot.width, dtype=np.float32).reshape(layout.layers, -1)}
    followed = np.array([[1.0], [2.0]], np.float32) * np.ones(slot.width, np.float32)
    found = trajectory_of(Outcome([], 2, False, None, {slot_name(slot): followed}, [1, 2]), [slot], before)
    assert list(found) == [(slot.stack, "v")] and found[slot.stack, "v"].shape == (2, layout.layers, slot.width)
    np.testing.assert_array_equal(found[slot.stack, "v"][:, 1], followed)
    np.testing.assert_array_equal(found[slot.stack, "v"][:, 0], np.stack([before[slot.stack, "v"][0]] * 2))
    assert trajectory_of(Outcome([], 2, False, None), [slot], before) == {}


def test_versions_and_device_are_named() -> None:
    assert software_versions()["torch"] == version("torch") and "beft-lab" in software_versions()
    assert device_name(torch.device("cpu")) == "cpu"
