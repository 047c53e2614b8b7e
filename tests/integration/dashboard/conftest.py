"""What tests of the dashboard share: a home of their own, made-up samples, and a played worker and model service."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from dashboard_tools import PlayedService
from made_up_samples import write_samples
from streamlit.components.v2 import manifest_scanner

from beft_core.errors import UserError
from beft_core.execution import cancel as cancel_module
from beft_core.execution import local
from beft_core.runs.run import list_runs
from dashboard.shared import model_service

ROOT = Path(__file__).parents[3]
FAKE = ROOT / "tests" / "fake_worker.py"


@pytest.fixture(scope="session", autouse=True)
def packages_read_once() -> Iterator[None]:
    """Every new AppTest reads the metadata of all installed packages, for components; a server does it once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
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
