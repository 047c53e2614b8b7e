"""A tiny decoder on disk, and the same with an added value bias in every layer."""

from __future__ import annotations

from pathlib import Path

import pytest
from example_decoder import write_decoder

from beft_core.config import RunConfig
from beft_core.models.biases import LoadedModel
from beft_core.training import inputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decoder(tmp_path_factory.mktemp("decoder") / "tiny")


@pytest.fixture
def model(folder: Path) -> LoadedModel:
    return inputs.load(RunConfig(model=str(folder), add_bias=("v",)))
