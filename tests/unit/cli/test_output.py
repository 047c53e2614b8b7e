"""Results on stdout: numbers, JSON, tables, and the paths that they are written to."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_snapshots import example

from beft_core.cli import output
from beft_core.errors import UserError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
        (0.0, "0.0000"),
        (0.001, "0.0010"),
        (0.00099, "9.90e-04"),
        (-1.5, "-1.5000"),
        (99.99999, "100.0000"),
        (100.0, "100.0"),
        (99_999.0, "99999.0"),
        (100_000.0, "1.00e+05"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert output.number(value) == text


def test_json_has_no_value_that_json_does_not_have(capsys: pytest.CaptureFixture[str]) -> None:
    document: dict[Any, Any] = {
        1: np.array([1.5, np.nan]),
        "path": Path("a/b"),
        "words": ("x", {"y"}),
        "int": np.int64(3),
        "inf": -math.inf,
        "ü": None,
    }
    output.print_json(document)
    text = capsys.readouterr().out
    assert json.loads(text) == {
        "1": [1.5, None],
        "path": "a/b",
        "words": ["x", ["y"]],
        "int": 3,
        "inf": None,
        "ü": None,
    }
    assert "ü" in text


def test_tables_set_numbers_right_and_interpret_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table("title", ["name", "value"], [("[red]a", 0.5), ("b\x1b[31m", 12.25)])
    out = capsys.readouterr().out
    lines = [line.rstrip() for line in out.splitlines() if line.strip()]
    assert lines[0] == "title"
    assert "[red]a" in out and "\x1b" not in out and "�" in out
    assert {line[-7:] for line in lines if "0.5" in line or "12.25" in line} == {" 0.5000", "12.2500"}


def test_percentages_say_what_the_snapshot_knows() -> None:
    meta = example().meta
    assert output.percentage(replace(meta, trained_parameters=2304, total_parameters=22_713_216)) == (
        "2,304 of 22,713,216 parameters (0.010 %)"
    )
    assert output.percentage(replace(meta, trained_parameters=2304, total_parameters=None)) == "2,304 parameters"
    assert output.percentage(replace(meta, trained_parameters=None)) == "unknown number of parameters"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.txt", "a.txt.beft.safetensors"),
        ("a.safetensors", "a.beft.safetensors"),
        (".beft.safetensors", "snapshot.beft.safetensors"),
        ("missing/a.beft.safetensors", "mkdir -p missing"),
        ("dir.beft.safetensors", "which is a folder"),
        ("a" * 200 + ".beft.safetensors", "at most 200 bytes"),
    ],
)
def test_paths_that_cannot_be_written(name: str, said: str, folder: Path) -> None:
    (folder / "dir.beft.safetensors").mkdir()
    with pytest.raises(UserError, match="--out") as refused:
        output.out_path(name)
    assert said in str(refused.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(folder: Path) -> None:
    (folder / "shut").mkdir(mode=0o500)
    with pytest.raises(UserError, match="cannot be written"):
        output.out_path("shut/a.beft.safetensors")


def test_a_default_name_replaces_nothing_unless_forced(folder: Path) -> None:
    path = output.default_path("a b/../c", force=False)
    assert path.name == "a-b-..-c.beft.safetensors" and path.parent.resolve() == folder.resolve()
    path.write_text("kept")
    second = output.default_path("a b/../c", force=False)
    assert second.name == "a-b-..-c-2.beft.safetensors"
    second.write_text("kept")
    assert output.default_path("a b/../c", force=False).name == "a-b-..-c-3.beft.safetensors"
    assert output.default_path("a b/../c", force=True) == path
    assert path.read_text() == "kept"


def test_what_was_saved_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "a.beft.safetensors"
    output.save(path, example())
    output.save(path, example())
    told = capsys.readouterr()
    assert told.err.splitlines() == [f"wrote {path}", f"replaced {path}"]
    assert told.out == ""
