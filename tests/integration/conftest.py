"""What tests of this folder share: a home of their own; and they leave the machine's cores to each other."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from dashboard_tools import PlayedService
from made_up_samples import write_samples
from streamlit.components.v2 import manifest_scanner

from beft_core.errors import UserError
from beft_core.execution import cancel as cancel_module
from beft_core.execution import local
from beft_core.models import load
from beft_core.models.biases import LoadedModel
from beft_core.models.null_certificate import NullReport, null_certificate
from beft_core.models.source import BUNDLED, ModelSource
from beft_core.runs.run import list_runs
from beft_core.training import result
from dashboard.shared import model_service

torch.set_num_threads(1)

ROOT = Path(__file__).parents[2]
FAKE = ROOT / "tests" / "fake_worker.py"


@pytest.fixture(scope="session", autouse=True)
def packages_read_once() -> Iterator[None]:
    """Every new AppTest reads the metadata of all installed packages, for components; a server does it once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        yield


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


class ShippedAnswer(PlayedService):
    """A model service that gives the answer that comes with the samples; about others' fine-tunes it knows nothing."""

    def ask(self, question: str, timeout: float = 0, **fields: Any) -> Any:
        if question in ("answer", "score"):
            raise UserError("got a fine-tune that is made up", "one of a model")
        answer = json.loads((ROOT / "sample_snapshots" / "three-pushes.json").read_text(encoding="utf-8"))["answer"]
        return answer if question == "prove" else answer["model"]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own, made-up samples and played workers, for tests of the dashboard."""
    write_samples(tmp_path / "samples")
    monkeypatch.setenv("BEFT_SAMPLES_DIR", str(tmp_path / "samples"))
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(local, "worker_command", lambda run: [sys.executable, str(FAKE), str(run.path)])
    monkeypatch.setattr(cancel_module, "TERMINATE_AFTER", 0.4)
    # The page Why asks at once: a process with PyTorch would start for every test that merely opens it.
    monkeypatch.setattr(model_service, "service", ShippedAnswer)
    yield tmp_path
    for run in list_runs(tmp_path / "home"):
        process = run.recorded().process
        if process is not None and (found := process.find()) is not None:
            found.kill()
