"""Fisher information at the fine-tuned model against a loop of single examples, and the ways to have it measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import tiny
from torch import nn
from training_tools import config, examples, fit, toy_data

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.merging.config import MergeConfig
from beft_core.merging.evaluate import evaluate_merge
from beft_core.merging.merge import merge
from beft_core.models.biases import biases, write_biases
from beft_core.snapshots.snapshot import Snapshot, read_snapshot, write_snapshot
from beft_core.training import workflow


def by_loop(name: str, snapshot: Snapshot, data: object, regression: bool) -> dict[str, np.ndarray]:
    """One example and one label at a time, on the model with the snapshot's biases and head put in."""
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    write_biases(model, {key: snapshot.post(*key) for key in snapshot.keys()})  # noqa: SIM118
    part = {name.removeprefix("extra.toy."): torch.tensor(value) for name, value in snapshot.extra.items()}
    pooler: nn.Linear = model.backbone.get_submodule("pooler.dense")  # type: ignore[assignment]
    slots = [slot for slot in model.layout.slots if slot.term in snapshot.meta.trained_terms]
    own = [model.backbone.get_submodule(slot.module).bias.requires_grad_() for slot in slots]
    sums = [torch.zeros_like(bias) for bias in own]
    for ids in data.ids:  # type: ignore[attr-defined]
        hidden = model.backbone(torch.as_tensor(ids)[None])[0][0, 0]
        pooled = torch.tanh(pooler.weight @ hidden + part["pooler.bias"])
        logits = part["head.weight"] @ pooled + part["head.bias"]
        p = torch.ones(1) if regression else logits.softmax(0)
        for label in range(len(logits)):
            value = logits[label] if regression else logits.log_softmax(0)[label]
            grads = torch.autograd.grad(value, own, retain_graph=True)
            for total, grad in zip(sums, grads, strict=True):
                total += p[label].detach() * grad.square()
    means = [total / len(data.ids) for total in sums]  # type: ignore[attr-defined]
    return {
        term: torch.stack([m for m, slot in zip(means, slots, strict=True) if slot.term == term]).numpy()
        for term in snapshot.meta.trained_terms
    }


@pytest.mark.parametrize("regression", [False, True])
def test_it_is_that_of_the_tuned_model_under_its_trained_head(regression: bool) -> None:
    wanted = config(terms=("q", "v"), lr=0.05)
    (snapshot,) = fit("bert", wanted, regression=regression)
    assert snapshot.fisher("encoder", "v", "tuned") is None
    data = examples(9, 3, regression)
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    before = biases(model)
    measured = workflow.measure_tuned_fisher(snapshot, model, toy_data(regression), data, wanted)
    for term, expected in by_loop("bert", snapshot, data, regression).items():
        np.testing.assert_allclose(measured.fisher("encoder", term, "tuned"), expected, rtol=2e-3, atol=1e-9)
    assert measured.fisher("encoder", "o", "tuned") is None and measured.fisher("encoder", "v") is None
    assert all(np.array_equal(biases(model)[key], value) for key, value in before.items())
    few = workflow.measure_tuned_fisher(
        snapshot, model, toy_data(regression), data, dataclasses.replace(wanted, fisher_examples=4)
    )
    assert few.fisher("encoder", "v", "tuned")[0, 0] != measured.fisher("encoder", "v", "tuned")[0, 0]  # type: ignore[index]


def test_layers_that_were_not_trained_and_null_elements_have_none() -> None:
    (snapshot,) = fit("gpt_neox", config(terms=("k",), layers=(1,)))
    model = tiny("gpt_neox", attn="sdpa", dtype=torch.float32)
    found = workflow.measure_tuned_fisher(snapshot, model, toy_data(), examples(6, 3), config()).fisher(
        "decoder", "k", "tuned"
    )
    assert found is not None and not found[0].any()
    acting = np.tile(np.arange(8) < 4, 4)
    np.testing.assert_array_equal(found[1] > 0, acting)


def test_a_fine_tune_that_trained_no_bias_has_none_to_measure() -> None:
    (snapshot,) = fit("bert", config(terms=("k",)))
    with pytest.raises(UserError, match="trained no bias term"):
        workflow.measure_tuned_fisher(snapshot, tiny("bert"), toy_data(), examples(6, 3), config())
    with pytest.raises(UserError, match="--fisher-tuned with --terms head"):
        RunConfig(mode="head", fisher_tuned=True)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """b_v of two demo tasks on the bundled model, as an earlier release kept them: without this tensor."""
    folder, paths = tmp_path_factory.mktemp("pair"), []
    for task in ("demo-sentiment", "demo-similarity"):
        settings = {"n_train": 8, "epochs": 1, "evaluate": "never"}
        snapshot = workflow.train(RunConfig(task=task, terms=("v",), device="cpu", **settings))  # type: ignore[arg-type]
        paths.append(folder / f"{task}.beft.safetensors")
        write_snapshot(paths[-1], snapshot)
    return paths


def test_training_measures_it_on_its_own_examples_and_merging_measures_the_same(pair: list[Path]) -> None:
    old = read_snapshot(pair[0])
    hyper = {"n_train": 8, "epochs": 1, "evaluate": "never", "fisher_tuned": True}
    new = workflow.train(RunConfig(task="demo-sentiment", terms=("v",), device="cpu", **hyper))  # type: ignore[arg-type]
    np.testing.assert_array_equal(new.post("encoder", "v"), old.post("encoder", "v"))
    (filled,) = workflow.with_tuned_fisher([old])
    tuned = new.fisher("encoder", "v", "tuned")
    assert tuned is not None and (tuned > 0).all()
    np.testing.assert_allclose(filled.fisher("encoder", "v", "tuned"), tuned, rtol=1e-4)  # type: ignore[arg-type]
    assert workflow.with_tuned_fisher([new])[0] is new


def test_a_merge_by_it_is_scored_where_the_files_lack_it(pair: list[Path]) -> None:
    snapshots = [read_snapshot(path) for path in pair]
    found = evaluate_merge(snapshots, MergeConfig.of(snapshots, ["a", "b"], method="fisher", limit=8))
    expected = merge(workflow.with_tuned_fisher(snapshots), "fisher")
    np.testing.assert_allclose(found.merged.post("encoder", "v"), expected.post("encoder", "v"), atol=1e-7)
    assert set(found.result.rows) == {"base model", "demo-sentiment", "demo-similarity", "merged"}


def test_what_is_missing_to_measure_it_is_one_line(pair: list[Path]) -> None:
    snapshot = read_snapshot(pair[0])
    snapshot.meta = dataclasses.replace(
        snapshot.meta, task="my table", heads={"my table": snapshot.meta.heads["demo-sentiment"]}
    )
    with pytest.raises(UserError, match="cannot be measured here") as caught:
        workflow.with_tuned_fisher([snapshot])
    assert "\n" not in str(caught.value) and "my table" in str(caught.value)
