"""The ways in which a card says that a folder of the Hub is used, done as it says: they give the same logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from markdown_it import MarkdownIt
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, LlamaConfig

from beft_core.config import RunConfig
from beft_core.exchange.checkpoints import imported, model_info
from beft_core.inference.merged_folder import write_merged
from beft_core.models.bias_reader import ModelWeights
from beft_core.models.source import bundled_path
from beft_core.publishing.folder import publication_of, write_hub_folder
from beft_core.snapshots.snapshot import Snapshot, read_snapshot, write_snapshot
from beft_core.training.evaluate import evaluate
from beft_core.training.workflow import train

RUN = {"task": "demo-sentiment", "n_train": 8, "n_eval": 8, "epochs": 1, "batch_size": 4, "max_length": 16, "lr": 0.02}
IDS = torch.tensor([[7, 23, 35, 2, 41, 10]])


def pushed(snapshot: Snapshot, folder: Path, **named: str) -> Path:
    file = folder / "own.beft.safetensors"
    write_snapshot(file, snapshot)
    return write_hub_folder(publication_of(read_snapshot(file), file, "org/name", **named), folder / "name").path


def opened_as_the_card_says(folder: Path, base: Path) -> Any:
    """The model of the card's Python, in which the Hub's names are replaced by folders that are here."""
    card = (folder / "README.md").read_text().split("---\n", 2)[2]
    (block,) = [token.content for token in MarkdownIt().parse(card) if token.info == "python"]
    names = block.replace('"org/name"', repr(str(folder)))
    for own in ('"sentence-transformers/all-MiniLM-L6-v2"', '"BASE"'):
        names = names.replace(own, repr(str(base)))
    assert names.count(str(base)) == 1 and names.count(str(folder)) == 1
    found: dict[str, Any] = {}
    exec(names, found)
    return found["model"]


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits
    return found


def test_a_classifier_by_peft_and_as_a_plain_model(tmp_path: Path) -> None:
    run = RunConfig(**RUN, terms=("v", "q"), device="cpu")
    snapshot = train(run)
    folder = pushed(snapshot, tmp_path)
    by_peft = opened_as_the_card_says(folder, bundled_path())
    there = folder / "snapshot.beft.safetensors"
    received = read_snapshot(there)
    made = write_merged(received, tmp_path / "merged").folder
    plain = AutoModelForSequenceClassification.from_pretrained(made)
    torch.testing.assert_close(logits(by_peft), logits(plain), atol=1e-5, rtol=1e-5)
    base = AutoModelForSequenceClassification.from_pretrained(bundled_path(), num_labels=2)
    assert not torch.allclose(by_peft.base_model.model.bert(IDS)[0], base.bert(IDS)[0], atol=1e-3)
    assert evaluate(received, run)["accuracy"] == pytest.approx(snapshot.meta.metrics[-1]["accuracy"])


def test_a_prompted_decoder_whose_base_is_a_folder_of_ones_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(**sizes, intermediate_size=48, num_key_value_heads=2)
    base = tmp_path / "base"
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    weights = ModelWeights(base)
    layout = weights.layout()
    assert layout is not None
    key = ("decoder", "v")
    pre = {key: np.zeros((2, 16), np.float32)}
    post = {key: np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)}
    heads = {"asks": {"kind": "choice", "labels": None, "objective": "candidates"}}
    start = imported(model_info(weights, layout, {}), layout, pre, post, "asks", {}, heads=heads)
    snapshot = start.with_meta(replace(start.meta, model=replace(start.meta.model, folder=str(base))))
    folder = pushed(snapshot, tmp_path)
    by_peft = opened_as_the_card_says(folder, base)
    assert by_peft.peft_config["default"].task_type == "CAUSAL_LM"
    received = read_snapshot(folder / "snapshot.beft.safetensors")
    plain = AutoModelForCausalLM.from_pretrained(write_merged(received, tmp_path / "merged", base=str(base)).folder)
    torch.testing.assert_close(logits(by_peft), logits(plain), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(logits(plain), logits(AutoModelForCausalLM.from_pretrained(base)), atol=1e-2)
