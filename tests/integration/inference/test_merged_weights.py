"""Adapters merged into plain models, judged by the adapter itself under PEFT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from tiny_models import VOCABULARY, tiny
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.inference.merged_folder import write_merged
from beft_core.inference.merged_weights import merged_weights
from beft_core.models.biases import biases
from beft_core.models.load import load_model
from beft_core.scores.rewriting import Rewriting
from beft_core.snapshots.adapter_folder import AdapterFolder
from beft_core.snapshots.snapshot import Snapshot, SnapshotMeta, adapter_beside, read_snapshot, write_snapshot
from beft_core.training.methods.adapters import AdapterWeights
from beft_core.training.preconditions import with_adapter
from beft_core.training.rewriting import rewrite_model

IDS = torch.tensor([[7, 23, 35, 2, 41, 10]])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with a tokenizer of sixty words."""
    folder = tmp_path_factory.mktemp("models") / "base"
    tiny("bert", attn="sdpa", dtype=torch.float32).backbone.save_pretrained(folder)  # type: ignore[operator]
    words = {word: number for number, word in enumerate(("[UNK]", "[PAD]", *map(str, range(2, VOCABULARY))))}
    known = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=known, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
    return folder


def head() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"head.weight": (2, 32), "head.bias": (2,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def snapshot_of(base: Path, mode: str, adapter: AdapterFolder | None = None, **changes: Any) -> Snapshot:
    """A made-up fine-tune of the base; ``changes``: fields of its metadata."""
    model = load_model(str(base))
    values = biases(model)
    fields: dict[str, Any] = {
        "model": model.info,
        "task": "toy",
        "mode": mode,
        "heads": {"toy": {"kind": "classification", "labels": ["no", "yes"]}},
        "provenance": {} if adapter is None else {"adapter": adapter.digest()},
        **changes,
    }
    made = Snapshot.build(
        SnapshotMeta(**fields), values, values, extra={f"extra.toy.{name}": value for name, value in head().items()}
    )
    made.adapter = adapter
    return made


def tuned(base: Path, mode: str) -> AdapterFolder:
    """An adapter of a method whose every value is far from where it began."""
    weights = AdapterWeights(load_model(str(base)), RunConfig(mode=mode, terms=(), model=str(base)).resolved())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in weights.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return weights.adapter(head())


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits
    return found


@pytest.mark.parametrize("mode", ["lora", "dora", "vera", "ia3", "ln-tuning", "peft-beft"])
def test_a_merged_adapter_gives_the_logits_of_the_adapter(mode: str, base: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.beft.safetensors"
    write_snapshot(file, snapshot_of(base, mode, tuned(base, mode)))
    made = write_merged(with_adapter(read_snapshot(file), file), tmp_path / "merged")
    merged, report = AutoModelForSequenceClassification.from_pretrained(made.folder, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    plain = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    untouched = plain.base_model(IDS)[0]
    assert not torch.allclose(merged.base_model(IDS)[0], untouched, atol=1e-2), "more than the head has changed"
    whole = peft.PeftModel.from_pretrained(plain, adapter_beside(file))
    torch.testing.assert_close(logits(merged), logits(whole), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mode", ["prefix", "prompt-tuning"])
def test_vectors_before_the_text_are_refused_with_the_reason(mode: str, base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="whose result is the adapter beside it"):
        write_merged(snapshot_of(base, mode), tmp_path / "merged")
    before = snapshot_of(base, mode, AdapterFolder({}, {"a": np.ones(1, np.float32)}))
    with pytest.raises(UserError, match="whose vectors stand before the text"):
        write_merged(before, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_an_adapter_that_is_not_of_this_model_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = tuned(base, "lora")
    short = {name: value[..., :-1] for name, value in adapter.tensors.items()}
    with pytest.raises(UserError, match="whose tensors are not those of lora"):
        write_merged(snapshot_of(base, "lora", AdapterFolder(adapter.config, short)), tmp_path / "merged")
    other = snapshot_of(base, "lora", adapter)
    far = replace(other.meta, model=replace(other.meta.model, fingerprint="0" * 64))
    with pytest.raises(UserError, match="whose biases differ from those the snapshot started from"):
        write_merged(other.with_meta(far), tmp_path / "merged", base=str(base))
    assert not (tmp_path / "merged").exists()


def test_a_rewritten_model_is_merged_as_it_was_rewritten(base: Path, tmp_path: Path) -> None:
    assert merged_weights(snapshot_of(base, "terms"), str(base)) is None
    model = load_model(str(base))
    own = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    rewrite_model(model, Rewriting(scale=2.0))
    values = biases(model)
    start = snapshot_of(base, "terms", hyperparameters={"rewrite_scale": 2.0}, trained_terms=("v",)).meta
    post = values | {("encoder", "v"): values["encoder", "v"] + 1}
    extra = {f"extra.toy.{name}": value for name, value in head().items()}
    snapshot = Snapshot.build(replace(start, model=model.info), values, post, extra=extra)
    made = write_merged(snapshot, tmp_path / "merged", base=str(base))
    merged = AutoModelForSequenceClassification.from_pretrained(made.folder).base_model.state_dict()
    name = "encoder.layer.0.attention.self.value"
    torch.testing.assert_close(merged[f"{name}.weight"], 2 * own[f"{name}.weight"])
    np.testing.assert_array_equal(merged[f"{name}.bias"], snapshot.post("encoder", "v")[0])
