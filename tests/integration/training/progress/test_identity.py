"""What makes a checkpoint that of another fine-tune, and what does not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tiny_models import tiny
from training_tools import config, examples

from beft_core.models.biases import LoadedModel
from beft_core.training.progress import identity
from beft_core.training.progress.identity import checkpoint_for, identity_of


@pytest.fixture
def model() -> LoadedModel:
    return tiny("bert")


def test_the_same_settings_model_and_examples_have_the_same_identity(model: LoadedModel) -> None:
    once, again = (identity_of([config(seed=1)], tiny("bert"), [examples(4, 1)]) for _ in range(2))
    assert once == again and len(once) == 64


def test_settings_model_examples_and_software_each_change_it(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = examples(4, 1)
    relabelled = dataclasses.replace(data, labels=1 - data.labels)
    other = tiny("bert", seed=1)
    other.info = dataclasses.replace(other.info, fingerprint="0" * 64)
    found = [
        identity_of([config()], model, [data]),
        identity_of([config(lr=0.5)], model, [data]),
        identity_of([config(), config(seed=1)], model, [data]),
        identity_of([config()], other, [data]),
        identity_of([config()], model, [examples(4, 2)]),
        identity_of([config()], model, [relabelled]),
    ]
    monkeypatch.setattr(identity, "software_versions", lambda: {"torch": "0"})
    found.append(identity_of([config()], model, [data]))
    assert len(set(found)) == len(found)


def test_the_checkpoint_of_a_fine_tune_has_its_identity_and_the_seconds_of_the_environment(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = [config()], model, [examples(4, 1)]
    monkeypatch.setenv("BEFT_CHECKPOINT_SECONDS", "0.25")
    found = checkpoint_for(tmp_path / "c", *of)
    assert found is not None and found.path == tmp_path / "c"
    assert found.identity == identity_of(*of) and found.every_seconds == 0.25
    assert checkpoint_for(None, *of) is None
