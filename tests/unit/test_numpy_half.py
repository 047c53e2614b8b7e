"""What starts without PyTorch: the numpy half, also where a module is imported on its own, and what a server reads."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TORCH = {
    "beft_core.dials.measure",
    "beft_core.library.loaded_models",
    "beft_core.merging.evaluate",
    "beft_core.models.attention_experiments",
    "beft_core.models.biases",
    "beft_core.models.folding",
    "beft_core.models.in_memory",
    "beft_core.models.key_value_cache",
    "beft_core.models.lm_head",
    "beft_core.models.load",
    "beft_core.models.model_fit",
    "beft_core.models.null_certificate",
    "beft_core.models.packing",
    "beft_core.models.placement",
    "beft_core.models.value_shift",
    "beft_core.models.weight_scale",
}
"""Modules of these folders that need it."""

_TELL = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    if {"torch", "transformers"} & set(sys.modules):
        sys.exit(f"{name} imports PyTorch")
"""


def _tell(*names: str) -> str:
    """The first of some modules that imports PyTorch; empty if none does."""
    done = subprocess.run([sys.executable, "-c", _TELL, *names], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stderr.strip()


NUMPY_HALF = ("architectures", "snapshots", "scores", "merging", "dials", "models", "exchange", "library")
"""Folders whose other modules all start without it."""


def test_the_numpy_half_imports_no_torch() -> None:
    names: list[str] = []
    for folder in NUMPY_HALF:
        found = {f"beft_core.{folder}.{path.stem}" for path in (ROOT / "beft_core" / folder).glob("*.py")} - TORCH
        found.discard(f"beft_core.{folder}.__init__")
        assert len(found) > 1, folder
        names += sorted(found)
    assert _tell(*names) == ""


def test_the_list_of_exceptions_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").touch()
    (tmp_path / "needs_it.py").write_text("import torch\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(tmp_path)]))
    assert _tell("beft_core.terms", "needs_it") == "needs_it imports PyTorch"
    assert "torch" in vars(importlib.import_module("beft_core.models.biases"))
    assert all((ROOT / f"{name.replace('.', '/')}.py").is_file() for name in TORCH)


_PYTORCH = {"torch", "transformers"}
_SERVED = {*_PYTORCH, "datasets", "streamlit", "pandas"}
LIGHT: dict[str, tuple[str, set[str]]] = {
    "methods": ("import beft_core.methods", {*_PYTORCH, "numpy"}),
    "tasks": ("import beft_core.tasks.registry", {*_PYTORCH, "datasets", "pandas", "sklearn"}),
    "architectures": ("import beft_core.architectures.table", _PYTORCH),
    "scores": (
        "import beft_core.scores.compare, beft_core.exchange.uploads, beft_core.exchange.upload_library",
        {*_PYTORCH, "scipy", "sklearn", "pandas", "datasets"},
    ),
    "plane of the sandbox": ("import beft_core.scores.plane", {"torch", "pandas"}),
    "runs": (
        "import beft_core.runs.run, beft_core.execution.queue, beft_core.execution.cancel, beft_core.execution.local",
        _SERVED,
    ),
    "words about runs": ("import beft_core.cli.command_line, beft_core.runs.about", _SERVED),
    "forecast": (
        "from beft_core.sweeps.forecast import forecast; from beft_core.sweeps.spec import SweepSpec\n"
        "forecast(SweepSpec(), None, 4)",
        {*_PYTORCH, "pandas"},
    ),
    "accuracy": (
        "import numpy as np; from beft_core.tasks.metrics import compute\n"
        "compute(['accuracy'], np.arange(3), np.arange(3))",
        {"sklearn"},
    ),
    "observer": ("import beft_core.training.observer", {"torch"}),
    "settings of merges": ("import beft_core.merging.config", {"torch"}),
    "kinds of runs": ("import beft_core.runs.kinds, beft_core.execution.workflows", {"torch"}),
    "where a model is": ("from beft_core.models.source import locate; locate()", {"torch"}),
    "plan of a sweep": (
        "from beft_core.sweeps import grouping, rows, spec, store, table; spec.SweepSpec().runs()",
        {"torch"},
    ),
    "report": ("import beft_core.reports.report, beft_core.cli.report", {"torch"}),
}
"""What is run -> how, and what it must not load. One interpreter runs all in this order: the
strictest come first."""


_RUN = """
import json, sys
for code in json.load(sys.stdin):
    exec(code, {})
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Row of LIGHT -> every package that is loaded once it has run."""
    codes = json.dumps([code for code, _ in LIGHT.values()])
    done = subprocess.run([sys.executable, "-c", _RUN], cwd=ROOT, input=codes, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(LIGHT, map(set, map(json.loads, done.stdout.splitlines())), strict=True))


@pytest.mark.parametrize("row", LIGHT)
def test_what_is_light_loads_nothing_heavy(row: str, loaded: dict[str, set[str]]) -> None:
    assert not LIGHT[row][1] & loaded[row]
