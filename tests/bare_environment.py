"""A virtual environment that has only what ``dependencies`` of pyproject.toml bring: no PyTorch, none of the extras.

It links to packages of the environment that runs the tests, so it needs no network and is there in a moment. What it
lacks is really absent, for child processes too.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def make(folder: Path) -> Path:
    """Make the environment; returns its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    paths = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    for one in _closure(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]):
        for name in _entries(one):
            link, target = packages / name, Path(str(one.locate_file(name))).resolve()
            if not link.exists() and target.exists():
                link.symlink_to(target)
    return python


def _closure(requirements: list[str]) -> list[Distribution]:
    """Every package that some requirements bring, with what those bring in turn."""
    found: dict[str, Distribution] = {}
    waiting = [(Requirement(text), frozenset({""})) for text in requirements]
    seen = set()
    while waiting:
        wanted, extras = waiting.pop()
        if wanted.marker is not None and not any(wanted.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        key = (wanted.name.lower(), frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        one = found.setdefault(wanted.name.lower(), distribution(wanted.name))
        waiting += [(Requirement(text), frozenset({"", *wanted.extras})) for text in one.requires or ()]
    return list(found.values())


def _entries(one: Distribution) -> set[str]:
    """Top-level files and folders of a package."""
    return {file.parts[0] for file in one.files or ()} - {"..", "__pycache__"}
