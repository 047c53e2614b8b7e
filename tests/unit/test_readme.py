"""The guide to the code is true to the files: what it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from beft_core.docs.topics import topic

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def guide() -> str:
    """The page about where things are."""
    return topic("code").text


def test_every_file_and_folder_that_it_names_exists(guide: str) -> None:
    named = re.findall(r"`((?:beft_core|dashboard|tests|sample_snapshots)/[^`]*)`", guide)
    assert len(named) > 25
    missing = [name for name in named if not list(ROOT.glob(name.replace("<name>", "*")))]
    assert missing == []
    assert [name for name in named if name.endswith("/") != (ROOT / name).is_dir() and "<" not in name] == []


def test_every_name_is_defined_in_the_file_that_it_gives(guide: str) -> None:
    pairs = re.findall(r"`(\w+)` in\s`([\w/]+\.py)`", guide)
    assert len(pairs) >= 8
    for name, path in pairs:
        defined = set()
        for node in ast.parse((ROOT / path).read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                defined.add(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                defined |= {target.id for target in targets if isinstance(target, ast.Name)}
        assert name in defined, f"{path} defines no {name}"


def test_it_says_how_to_add_each_kind_of_thing(guide: str) -> None:
    table = dict(re.findall(r"^\| (an? [a-z ]+) \| (.+) \|$", guide, re.MULTILINE))
    assert set(table) == {
        "an architecture",
        "a score",
        "a merge method",
        "a task",
        "a claim of the paper",
        "a figure or table of the paper to reproduce",
        "a look",
        "a page",
        "a stop of the deck",
        "a training method",
        "an objective",
        "a kind of run",
    }
    assert all("`" in what for what in table.values())
