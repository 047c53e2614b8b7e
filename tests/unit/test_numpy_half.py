"""The numpy half starts without PyTorch, also where a module is imported on its own: seen in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TORCH = {
    "beft_core.library.loaded_models",
    "beft_core.merging.evaluate",
    "beft_core.models.attention_experiments",
    "beft_core.models.biases",
    "beft_core.models.folding",
    "beft_core.models.in_memory",
    "beft_core.models.load",
    "beft_core.models.model_fit",
    "beft_core.models.null_certificate",
    "beft_core.models.packing",
    "beft_core.models.value_shift",
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


@pytest.mark.parametrize("folder", ["architectures", "snapshots", "scores", "merging", "models", "exchange", "library"])
def test_a_folder_of_the_numpy_half_imports_no_torch(folder: str) -> None:
    names = {f"beft_core.{folder}.{path.stem}" for path in (ROOT / "beft_core" / folder).glob("*.py")} - TORCH
    names.discard(f"beft_core.{folder}.__init__")
    assert len(names) > 1 and _tell(*sorted(names)) == ""


def test_the_list_of_exceptions_is_true() -> None:
    assert _tell("beft_core.models.biases") == "beft_core.models.biases imports PyTorch"
    assert all((ROOT / f"{name.replace('.', '/')}.py").is_file() for name in TORCH)
