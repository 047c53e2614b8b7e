"""What a fine-tune reads, drawn from the demo tasks and small tables."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny, tiny_with_words

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.models import load as models
from beft_core.models.placement import Placement
from beft_core.tasks.examples import Examples, TaskData
from beft_core.tasks.registry import get_task
from beft_core.training import inputs
from beft_core.training.batches.encoded import Encoded

RUN = RunConfig(task="demo-sentiment", n_train=8, device="cpu").resolved()


def test_of_two_validation_sets_the_first_one_counts() -> None:
    """As for MNLI, where the paper reports the matched set."""
    empty = Examples([], None, np.array([]))
    two = TaskData(get_task("mnli"), empty, {"matched": empty, "mismatched": empty}, "made up")
    one = dataclasses.replace(two, evals={"matched": empty})
    assert inputs.primary_metric(two) == "accuracy_matched" and inputs.primary_metric(one) == "accuracy"
    logits, examples = np.eye(3, dtype=np.float32), Encoded.of([np.ones(1)] * 3, None, np.array([0, 1, 1]))
    tables = {name: compute(logits, examples) for name, compute in inputs.metrics_of(two).items()}
    assert list(tables["matched"]) == ["accuracy_matched"] and list(tables["mismatched"]) == ["accuracy_mismatched"]


@pytest.mark.parametrize("change", [{"seed": 1}, {"n_train": 7}, {"sampler": "randomstate"}])
def test_what_changes_the_examples_changes_what_is_drawn(change: dict[str, Any]) -> None:
    data = inputs.load_data(RUN)
    changed = dataclasses.replace(RUN, **change)
    assert inputs.drawn(RUN) != inputs.drawn(changed)
    assert inputs.sample(RUN, data.train).text != inputs.sample(changed, data.train).text


def test_runs_that_agree_in_what_is_drawn_share_their_examples() -> None:
    data = inputs.load_data(RUN)
    other = dataclasses.replace(RUN, lr=1e-4, terms=("q",))
    assert inputs.drawn(RUN) == inputs.drawn(other)
    assert inputs.sample(RUN, data.train).text == inputs.sample(other, data.train).text


def test_files_of_the_user_come_before_the_named_task(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("words,kind\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(40)))
    data = inputs.load_data(RunConfig(train_file=str(table), text="words", label="kind"))
    everything = [*data.train.text, *(text for part in data.evals.values() for text in part.text)]
    assert sorted(everything) == sorted(f"text {i}" for i in range(40))


def test_a_model_gets_the_zero_biases_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "load_model", lambda name, placement: tiny_with_words(name))
    bare = inputs.load(RunConfig(model="llama"))
    assert "v" not in bare.layout.terms
    added = inputs.load(RunConfig(model="llama", add_bias=("v",)))
    slots = added.layout.slots_of("v")
    assert len(slots) == added.layout.layers
    assert not any(added.backbone.get_parameter(slot.parameter).any() for slot in slots)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Placement(torch.device("cuda"))),
        ({"precision": "bfloat16"}, Placement(torch.device("cuda"), bfloat16=True)),
        ({"precision": "bfloat16", "fisher": True}, Placement(torch.device("cuda"))),
        ({"device": "cpu"}, None),
        ({"mode": "full", "terms": ()}, None),
        ({"rewrite_scale": 2.0}, None),
    ],
)
def test_a_gpu_gets_the_weights_as_they_are_computed_with(
    changes: dict[str, Any], expected: Placement | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "pick_device", torch.device)
    assert inputs.placement_for([RunConfig(**{"device": "cuda", **changes})]) == expected


def test_one_run_that_measures_fisher_wants_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "pick_device", torch.device)
    bank = [RunConfig(device="cuda", precision="bfloat16", fisher=fisher) for fisher in (False, True)]
    assert inputs.placement_for(bank) == Placement(torch.device("cuda"))
    assert inputs.placement_for(bank[:1]) == Placement(torch.device("cuda"), bfloat16=True)


def test_what_is_measured_after_a_fine_tune_is_read_to_its_gpu_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "pick_device", torch.device)
    on_gpu = RunConfig(device="cuda", precision="bfloat16")
    assert inputs.placement_for([on_gpu], exact=True) == Placement(torch.device("cuda"))
    assert inputs.placement_for([dataclasses.replace(on_gpu, device="cpu")], exact=True) is None


def test_a_model_without_a_tokenizer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "load_model", lambda name, placement: tiny(name))
    with pytest.raises(UserError, match="no tokenizer"):
        inputs.load(RunConfig(model="vit"))
