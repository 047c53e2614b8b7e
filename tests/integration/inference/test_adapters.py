"""Fine-tunes that left an adapter, asked beside fine-tunes of biases: as PEFT answers, and nothing of them stays."""

from __future__ import annotations

import copy
import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_runner import assert_refused, beft
from example_adapters import SAMPLE, bundled, left
from transformers import AutoConfig, AutoModelForSequenceClassification

from beft_core.adapter_methods import ADAPTERS
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.inference.adapters import adapter_logits
from beft_core.inference.held import HeldFineTunes
from beft_core.inference.predict import predict
from beft_core.inference.sending import by_file
from beft_core.methods import METHODS
from beft_core.models.biases import LoadedModel
from beft_core.models.source import locate
from beft_core.snapshots.adapter_folder import AdapterFolder
from beft_core.snapshots.snapshot import Snapshot, adapter_beside, read_snapshot
from beft_core.tasks.examples import Examples
from beft_core.training.batches.encoded import encode
from beft_core.training.preconditions import with_adapter

peft = pytest.importorskip("peft")

TEXTS = ["The film was surprisingly good, but far too long.", "dull"]


def loader(config: RunConfig) -> LoadedModel:
    assert config.model == "bundled"
    return bundled()


def opened(file: Path) -> Snapshot:
    return with_adapter(read_snapshot(file), file)


@cache
def bare_classifier() -> Any:
    config = AutoConfig.from_pretrained(locate("bundled").folder)
    return AutoModelForSequenceClassification.from_pretrained(locate("bundled").folder, config=config).eval()


def by_peft(file: Path | None, snapshot: Snapshot) -> np.ndarray:
    """Logits of transformers' classifier with the head of a snapshot, and PEFT's own reading of an adapter's folder."""
    classifier = copy.deepcopy(bare_classifier())
    with torch.no_grad():
        classifier.classifier.weight.copy_(torch.tensor(snapshot.extra["extra.sst2.head.weight"]))
        classifier.classifier.bias.copy_(torch.tensor(snapshot.extra["extra.sst2.head.bias"]))
        whole = classifier if file is None else peft.PeftModel.from_pretrained(classifier, adapter_beside(file)).eval()
        return np.stack([whole(**bundled().tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in TEXTS])


@pytest.mark.parametrize("method", ["lora", "vera", "ln-tuning", "prompt-tuning"])  # one of each way to be put in
def test_an_adapter_answers_as_peft_does_beside_biases_and_leaves_the_model_as_it_was(
    method: str, tmp_path: Path
) -> None:
    file, biases = left(method, tmp_path), read_snapshot(SAMPLE)
    snapshot = opened(file)
    modules = list(bundled().backbone.modules())
    (alone,) = predict([biases], TEXTS, apart=[], loader=loader)
    first, answer, last = predict([biases, snapshot, biases], TEXTS, apart=[1], loader=loader)
    for one in (first, last):
        np.testing.assert_allclose(one.logits, alone.logits, atol=1e-5)
    np.testing.assert_allclose(answer.before, by_peft(None, snapshot), atol=2e-5)
    np.testing.assert_allclose(answer.logits, by_peft(file, snapshot), atol=2e-5)
    assert np.abs(answer.logits - answer.before).max() > 0.01, "the adapter does nothing"
    assert answer.name == METHODS[method].short
    layers = list(range(6)) if ADAPTERS[method].wraps else []
    assert sorted(answer.effect(1).layers) == layers and answer.effect(0).layers == {}
    now = list(bundled().backbone.modules())
    assert len(now) == len(modules) and all(a is b for a, b in zip(now, modules, strict=True))


def test_the_command_asks_an_adapter_and_refuses_it_among_rows_of_others(tmp_path: Path) -> None:
    file, table = left("lora", tmp_path), tmp_path / "rows.csv"
    table.write_text("text,who\ndull,lora\n")
    (answer,) = predict([opened(file)], TEXTS, apart=[], loader=loader)
    asked = beft("predict", file, "--text", TEXTS[0], "--text", TEXTS[1], "--json").json
    np.testing.assert_allclose([one["answers"][0]["logits"] for one in asked["texts"]], answer.logits, atol=2e-5)
    refused = beft("predict", file, "--file", table, "--text", "text", "--snapshot", "who")
    assert "a call for it alone, or beft evaluate" in assert_refused(refused)


def test_without_a_layer_is_the_adapter_whose_values_there_do_nothing(tmp_path: Path) -> None:
    snapshot = opened(left("lora", tmp_path))
    (answer,) = predict([snapshot], TEXTS, apart=[0, 1], loader=loader)
    assert snapshot.adapter is not None
    tensors = {
        name: np.zeros_like(value) if "layer.3." in name and "lora_B" in name else value
        for name, value in snapshot.adapter.tensors.items()
    }
    snapshot.adapter = AdapterFolder(snapshot.adapter.config, tensors)
    (cut,) = predict([snapshot], TEXTS, apart=[], loader=loader)
    np.testing.assert_allclose(answer.without[3], cut.logits, atol=1e-5)
    assert np.abs(answer.without[3] - answer.logits).max() > 1e-3


def test_vectors_before_the_text_are_asked_from_files_as_by_the_function(tmp_path: Path) -> None:
    files = [left("prefix", tmp_path), left("lora", tmp_path, targets=("k",)), SAMPLE]
    held = HeldFineTunes()
    runs = [by_file(file.name.split(".")[0], file) for file in files]
    asked = {"texts": TEXTS, "text_pairs": None, "task": "sst2", "apart": [0], "model": "bundled"}
    found = held.answer(runs, **asked)["answers"]
    expected = predict([*map(opened, files[:2]), read_snapshot(SAMPLE)], TEXTS, apart=[0], loader=loader)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.array(one["logits"]), other.logits, atol=1e-5)
    assert expected[0].without == {} and sorted(expected[1].without) == list(range(6))
    # What lies beside the model since the first question is as good after adapters were in it.
    for one, other in zip(held.answer(runs, **asked)["answers"], found, strict=True):
        assert one == other
    # Without its vectors, prefix tuning is the model alone; with them it is not.
    np.testing.assert_allclose(expected[0].before, by_peft(None, opened(files[0])), atol=2e-5)
    assert np.abs(expected[0].logits - expected[0].before).max() > 0.01


def test_what_does_not_fit_is_refused_and_the_model_stays_as_it_was(tmp_path: Path) -> None:
    file = left("lora", tmp_path)
    snapshot = opened(file)
    encoded = encode(bundled().tokenizer, Examples(TEXTS, None, np.zeros(len(TEXTS))), 32)
    modules = list(bundled().backbone.modules())
    assert snapshot.adapter is not None
    whole = snapshot.adapter
    snapshot.adapter = AdapterFolder(whole.config, {name: value[:1] for name, value in whole.tensors.items()})
    with pytest.raises(UserError, match="whose tensors are not those of lora"):
        adapter_logits(bundled(), snapshot, "sst2", encoded)
    assert all(a is b for a, b in zip(bundled().backbone.modules(), modules, strict=True))
    other = dataclasses.replace(snapshot.meta.model, fingerprint="0" * 64)
    strange = Snapshot.build(
        dataclasses.replace(snapshot.meta, model=other),
        {key: snapshot.pre(*key) for key in snapshot.keys()},  # noqa: SIM118
        {key: snapshot.post(*key) for key in snapshot.keys()},  # noqa: SIM118
        extra=snapshot.extra,
    )
    strange.adapter = whole
    with pytest.raises(UserError, match="fine-tunes of one base model"):
        adapter_logits(bundled(), strange, "sst2", encoded)
    (adapter_beside(file) / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match="got no adapter in"):
        HeldFineTunes().answer([by_file("lora", file)], TEXTS, None, "sst2", [], "bundled")
