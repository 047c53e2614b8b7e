"""The ways to have Fisher information measured at the fine-tuned model, and what has none."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny
from training_tools import config, examples, fit, toy_data

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.merging.config import MergeConfig
from beft_core.merging.evaluate import evaluate_merge
from beft_core.merging.merge import merge
from beft_core.models.biases import LoadedModel
from beft_core.snapshots.snapshot import read_snapshot, write_snapshot
from beft_core.training import inputs
from beft_core.training.fisher.of_snapshots import measure_tuned_fisher, with_tuned_fisher
from beft_core.training.workflow import train


def test_layers_that_were_not_trained_and_null_elements_have_none() -> None:
    (snapshot,) = fit("gpt_neox", config(terms=("k",), layers=(1,)))
    model = tiny("gpt_neox", attn="sdpa", dtype=torch.float32)
    found = measure_tuned_fisher(snapshot, model, toy_data(), examples(6, 3), config()).fisher("decoder", "k", "tuned")
    assert found is not None and not found[0].any()
    acting = np.tile(np.arange(8) < 4, 4)
    np.testing.assert_array_equal(found[1] > 0, acting)


def test_a_fine_tune_that_trained_no_bias_has_none_to_measure() -> None:
    (snapshot,) = fit("bert", config(terms=("k",)))
    with pytest.raises(UserError, match="trained no bias term"):
        measure_tuned_fisher(snapshot, tiny("bert"), toy_data(), examples(6, 3), config())
    with pytest.raises(UserError, match="--fisher-tuned with --terms head"):
        RunConfig(mode="head", fisher_tuned=True)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """b_v of two demo tasks on the bundled model, as an earlier release kept them: without this tensor."""
    folder, paths = tmp_path_factory.mktemp("pair"), []
    for task in ("demo-sentiment", "demo-similarity"):
        settings = {"n_train": 8, "epochs": 1, "evaluate": "never"}
        snapshot = train(RunConfig(task=task, terms=("v",), device="cpu", **settings))  # type: ignore[arg-type]
        paths.append(folder / f"{task}.beft.safetensors")
        write_snapshot(paths[-1], snapshot)
    return paths


def test_training_measures_it_on_its_own_examples_and_merging_measures_the_same(
    pair: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = read_snapshot(pair[0])
    hyper = {"n_train": 8, "epochs": 1, "evaluate": "never", "fisher_tuned": True}
    read, load, placed, place = [], inputs.load, [], inputs.placement_for  # type: ignore[var-annotated]

    def loaded(*args: Any, **more: Any) -> LoadedModel:
        gc.collect()
        assert all(one() is None for one in read), "two models in memory at a time"
        model = load(*args, **more)
        read.append(weakref.ref(model))
        return model

    monkeypatch.setattr(inputs, "load", loaded)
    monkeypatch.setattr(inputs, "placement_for", lambda runs, exact=False: placed.append(exact) or place(runs, exact))
    new = train(RunConfig(task="demo-sentiment", terms=("v",), device="cpu", **hyper))  # type: ignore[arg-type]
    assert placed == [False, True] and len(read) == 2
    np.testing.assert_array_equal(new.post("encoder", "v"), old.post("encoder", "v"))
    (filled,) = with_tuned_fisher([old])
    assert placed == [False, True, True]
    tuned = new.fisher("encoder", "v", "tuned")
    assert tuned is not None and (tuned > 0).all()
    np.testing.assert_allclose(filled.fisher("encoder", "v", "tuned"), tuned, rtol=1e-4)  # type: ignore[arg-type]
    assert with_tuned_fisher([new])[0] is new


def test_of_a_fine_tune_that_held_examples_out_it_is_measured_on_those_that_it_drew() -> None:
    hyper: dict[str, Any] = {"n_train": 8, "epochs": 1, "evaluate": "never", "hold_out": 2000}
    one, other = (
        train(RunConfig(task="demo-sentiment", terms=("v",), device="cpu", fisher_tuned=measured, **hyper))
        for measured in (True, False)
    )
    (filled,) = with_tuned_fisher([other])
    expected, found = (of.fisher("encoder", "v", "tuned") for of in (one, filled))
    np.testing.assert_allclose(found, expected, rtol=1e-4)  # type: ignore[arg-type]


def test_a_merge_by_it_is_scored_where_the_files_lack_it(pair: list[Path]) -> None:
    snapshots = [read_snapshot(path) for path in pair]
    found = evaluate_merge(snapshots, MergeConfig.of(snapshots, ["a", "b"], method="fisher", limit=8))
    expected = merge(with_tuned_fisher(snapshots), "fisher")
    np.testing.assert_allclose(found.merged.post("encoder", "v"), expected.post("encoder", "v"), atol=1e-7)
    assert set(found.result.rows) == {"base model", "demo-sentiment", "demo-similarity", "merged"}


def test_what_is_missing_to_measure_it_is_one_line(pair: list[Path]) -> None:
    snapshot = read_snapshot(pair[0])
    snapshot.meta = dataclasses.replace(
        snapshot.meta, task="my table", heads={"my table": snapshot.meta.heads["demo-sentiment"]}
    )
    with pytest.raises(UserError, match="cannot be measured here: got my table, a table of your own") as caught:
        with_tuned_fisher([snapshot])
    assert "\n" not in str(caught.value) and "prompt-squad" not in str(caught.value)
    assert caught.value.try_.startswith("that, beft train --fisher-tuned")
