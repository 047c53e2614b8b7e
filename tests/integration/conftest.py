"""What tests of this folder share: what would be read again and again; and they leave the machine's cores to each
other. What needs Streamlit is in `dashboard/`: the tests of the engine run where it is not installed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from beft_core.models import load
from beft_core.models.biases import LoadedModel
from beft_core.models.null_certificate import NullReport, null_certificate
from beft_core.models.source import BUNDLED, ModelSource
from beft_core.training import result

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def models_certified_once() -> Iterator[None]:
    """Every fine-tune certifies its model, most of them the bundled one: a sixth of what a small fine-tune takes.

    Models are the same if all their parameters are; tests of the certificate itself ask for it under its own name.
    """
    known: dict[int, Mapping[str, NullReport]] = {}

    def certificate(model: LoadedModel) -> Mapping[str, NullReport]:
        key = zlib.crc32(repr((type(model.backbone), model.config)).encode())
        for parameter in model.backbone.parameters():
            key = zlib.crc32(parameter.detach().cpu().reshape(-1).view(torch.uint8).numpy(), key)
        if key not in known:
            known[key] = null_certificate(model)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result, "null_certificate", certificate)
        yield


@pytest.fixture(scope="session", autouse=True)
def bundled_tokenizer_read_once() -> Iterator[None]:
    """Every whole fine-tune or command reads the bundled model, and its tokenizer is a third of that time."""
    known: dict[Path, Any] = {}
    read = load._load_tokenizer

    def tokenizer(source: ModelSource) -> Any:
        if source.id != BUNDLED:
            return read(source)
        if source.folder not in known:
            known[source.folder] = read(source)
        return known[source.folder]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "_load_tokenizer", tokenizer)
        yield
