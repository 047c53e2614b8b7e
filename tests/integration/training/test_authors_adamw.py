"""The paper preset on the bundled model against transformers' classifier and the authors' optimizer in a plain loop."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain_loop import Plain, plain_run, terms_and_head

from beft_core.cli import app
from beft_core.config import RunConfig
from beft_core.models.source import bundled_path
from beft_core.snapshots.snapshot import Snapshot, read_snapshot
from beft_core.tasks.load import load_task
from beft_core.training.batches.encoded import encode
from beft_core.training.inputs import load
from beft_core.training.workflow import train

RUN = RunConfig(
    task="demo-sentiment",
    preset="paper",
    n_train=32,
    epochs=3,
    lr=2e-3,
    seed=3,
    terms=("q", "v"),
    dropout=False,
    device="cpu",
    evaluate="never",
)


def plain(run: RunConfig) -> Plain:
    """The same fine-tune, from the authors' sample on."""
    from transformers import BertForSequenceClassification

    examples = load_task(run.task).train
    drawn = np.random.RandomState(run.seed).permutation(len(examples))[: run.n_train]
    data = encode(load(run).tokenizer, examples.take(drawn), run.max_length)
    peer = BertForSequenceClassification.from_pretrained(bundled_path(), dtype=torch.float32)
    return plain_run(peer, run, data, terms_and_head(*run.terms))


def movement(one: Snapshot, term: str) -> float:
    return float(np.abs(one.post("encoder", term) - one.pre("encoder", term)).mean())


def test_a_real_fine_tune_makes_the_updates_of_the_authors_optimizer() -> None:
    ours, theirs = train(RUN), plain(RUN.resolved())
    for term in RUN.terms:
        np.testing.assert_allclose(ours.post("encoder", term), theirs.bias(term), rtol=0, atol=1e-6)
    head: Any = theirs.peer.classifier
    np.testing.assert_allclose(ours.extra["extra.demo-sentiment.head.weight"], head.weight.detach(), rtol=0, atol=1e-6)
    other = train(dataclasses.replace(RUN, adam_epsilon=1e-8, adam_epsilon_at="after"))
    assert movement(ours, "v") > 1e-3
    assert movement(ours, "q") < 0.97 * movement(other, "q")  # whose gradients are nearest to the epsilon


def test_the_noise_of_a_null_term_moves_it_by_the_optimizers_epsilon() -> None:
    """b_k has no gradient but rounding errors, which an epsilon above them silences and one below them does not."""
    run = dataclasses.replace(RUN, terms=("k",), train_null=True, n_train=24, epochs=2)
    theirs, ours = train(run), train(dataclasses.replace(run, adam_epsilon=1e-8, adam_epsilon_at="after"))
    assert 0 < 100 * movement(theirs, "k") < movement(ours, "k")


def test_select_with_the_paper_preset_records_what_it_fills_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "GLUE" / "SST-2"
    folder.mkdir(parents=True)
    for name, rows in (("train", 40), ("dev", 10)):
        lines = [f"a {'fine' if row % 2 else 'dull'} film number {row}\t{row % 2}" for row in range(rows)]
        (folder / f"{name}.tsv").write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    out = tmp_path / "probe.beft.safetensors"
    words = ["select", "--preset", "paper", "--task", "sst2", "--n-train", "20", "--epochs", "1", "--device", "cpu"]
    assert app.run([*words, "--data-dir", str(tmp_path / "GLUE"), "--out", str(out)]) == 0
    settings = read_snapshot(out).meta.hyperparameters
    expected = {
        "adam_epsilon": 1e-6,
        "adam_epsilon_at": "before",
        "sampler": "randomstate",
        "inputs": "lab",
        "lr": 4e-4,
        "schedule": "constant",
    }
    assert {name: settings[name] for name in expected} == expected
    capsys.readouterr()
    assert app.run(["inspect", str(out)]) == 0
    assert "adam_epsilon: 1e-06, adam_epsilon_at: before" in " ".join(capsys.readouterr().out.split())
    assert app.run(["inspect", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metadata"]["hyperparameters"]["adam_epsilon"] == 1e-6
