"""Adapters merged into plain models, judged by the adapter itself under PEFT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.inference.merged_folder import write_merged
from beft_core.inference.merged_weights import merged_weights
from beft_core.models.source import bundled_path
from beft_core.snapshots.snapshot import Snapshot, adapter_beside, read_snapshot, write_snapshot
from beft_core.training.preconditions import with_adapter
from beft_core.training.workflow import train

RUN = {"task": "demo-sentiment", "n_train": 8, "n_eval": 8, "epochs": 1, "batch_size": 4, "max_length": 16, "lr": 0.02}
IDS = torch.tensor([[101, 2023, 3185, 2001, 2307, 102]])


@pytest.fixture(params=["lora", "dora", "vera", "ia3", "ln-tuning", "peft-beft"])
def tuned(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Snapshot, Path]:
    snapshot = train(RunConfig(**RUN, mode=request.param, terms=(), device="cpu"))
    file = tmp_path / "run.beft.safetensors"
    write_snapshot(file, snapshot)
    return with_adapter(read_snapshot(file), file), adapter_beside(file)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits
    return found


def test_a_merged_adapter_gives_the_logits_of_the_adapter(tuned: tuple[Snapshot, Path], tmp_path: Path) -> None:
    snapshot, folder = tuned
    made = write_merged(snapshot, tmp_path / "merged")
    merged, report = AutoModelForSequenceClassification.from_pretrained(made.folder, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    base = AutoModelForSequenceClassification.from_pretrained(bundled_path(), num_labels=2)
    untouched = logits(base)
    whole = peft.PeftModel.from_pretrained(base, folder)
    torch.testing.assert_close(logits(merged), logits(whole), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(logits(merged), untouched, atol=1e-3)


@pytest.mark.parametrize("mode", ["prefix", "prompt-tuning"])
def test_vectors_before_the_text_are_refused_with_the_reason(mode: str, tmp_path: Path) -> None:
    snapshot = train(RunConfig(**RUN, device="cpu"))
    before = snapshot.with_meta(replace(snapshot.meta, mode=mode))
    before.adapter = None
    with pytest.raises(UserError, match="whose result is the adapter beside it"):
        write_merged(before, tmp_path / "merged")
    from beft_core.snapshots.adapter_folder import AdapterFolder

    before.adapter = AdapterFolder({}, {"a": np.ones(1, np.float32)})
    with pytest.raises(UserError, match="whose vectors stand before the text"):
        write_merged(before, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_rewritten_model_is_merged_as_it_was_rewritten(tmp_path: Path) -> None:
    snapshot = train(RunConfig(**RUN, terms=("v",), rewrite_scale=2.0, device="cpu"))
    changed = merged_weights(snapshot, str(bundled_path()))
    assert changed is not None
    plain = train(RunConfig(**RUN, terms=("v",), device="cpu"))
    assert merged_weights(plain, str(bundled_path())) is None
    made = write_merged(snapshot, tmp_path / "merged")
    merged = AutoModelForSequenceClassification.from_pretrained(made.folder)
    name = "encoder.layer.0.attention.self.value"
    own = AutoModelForSequenceClassification.from_pretrained(bundled_path()).base_model.state_dict()
    torch.testing.assert_close(merged.base_model.state_dict()[f"{name}.weight"], 2 * own[f"{name}.weight"])
    np.testing.assert_array_equal(merged.base_model.state_dict()[f"{name}.bias"], snapshot.post("encoder", "v")[0])
