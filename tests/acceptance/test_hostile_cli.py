"""Wrong input of every kind, through the real entry function: exit status 2, one line, no traceback, no file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_runner import assert_refused, beft
from example_snapshots import base, example
from hostile import hostile_snapshots
from hostile_data import hostile_tables

from beft_core.snapshots.snapshot import write_snapshot

SNAPSHOTS = list(hostile_snapshots())


@pytest.mark.parametrize(("name", "content"), SNAPSHOTS, ids=[name for name, _ in SNAPSHOTS])
def test_broken_snapshots(name: str, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "broken.beft.safetensors"
    file.write_bytes(content)
    assert "broken.beft.safetensors" in assert_refused(beft("inspect", file))
    # What inspect refuses, no other reader may take for results: it either refuses it too, or does not use that part.
    scored = beft("score", file, "--json")
    if scored.status:
        assert_refused(scored)
    else:
        assert isinstance(scored.json["files"][0]["means"], list)


def test_a_broken_snapshot_among_sound_ones(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "a.beft.safetensors", example())
    (tmp_path / "b.beft.safetensors").write_bytes(b"no")
    files = [tmp_path / "a.beft.safetensors", tmp_path / "b.beft.safetensors"]
    assert_refused(beft("score", *files))
    assert_refused(beft("merge", *files, "--out", tmp_path / "c.beft.safetensors"))
    assert not (tmp_path / "c.beft.safetensors").exists()


def test_broken_tables(tmp_path: Path) -> None:
    cases = hostile_tables(tmp_path)
    assert len(cases) > 40
    out = tmp_path / "out.beft.safetensors"
    for name, fields in cases:
        flags = [
            word
            for field, value in fields.items()
            if value is not None
            for word in (f"--{field.replace('_', '-')}", value)
        ]
        result = beft("train", *flags, "--out", out)
        assert result.status == 2, (name, result)
        assert_refused(result)
        assert not out.exists()


WRONG_FLAGS: dict[str, list[str]] = {
    "unknown command": ["tarin"],
    "unknown option": ["train", "--learning-speed", "1"],
    "option without a value": ["train", "--seed"],
    "text for a number": ["train", "--epochs", "many"],
    "fraction for a count": ["train", "--n-train", "1.5"],
    "unknown task": ["train", "--task", "sst3"],
    "unknown term": ["train", "--terms", "w"],
    "term twice": ["train", "--terms", "v", "v"],
    "mode among terms": ["train", "--terms", "all", "v"],
    "two modes": ["train", "--terms", "head,full"],
    "no term": ["train", "--terms", ","],
    "layers backwards": ["train", "--layers", "5-3"],
    "layers in words": ["train", "--layers", "first"],
    "layer range without end": ["train", "--layers", "3-"],
    "negative layer": ["train", "--layers=-1"],
    "unknown added bias": ["train", "--add-bias", "x"],
    "unknown regime": ["train", "--regime", "tiny"],
    "regime that the paper lacks": ["train", "--task", "cb", "--regime", "high"],
    "unknown preset": ["train", "--preset", "fast"],
    "unknown schedule": ["train", "--schedule", "cosine"],
    "no epochs": ["train", "--epochs", "0"],
    "learning rate zero": ["train", "--lr", "0"],
    "learning rate NaN": ["train", "--lr", "nan"],
    "learning rate infinite": ["train", "--lr", "inf"],
    "batch of none": ["train", "--batch-size", "0"],
    "negative seed": ["train", "--seed", "-1"],
    "length of one": ["train", "--max-length", "1"],
    "negative decay": ["train", "--weight-decay", "-1"],
    "clip NaN": ["train", "--clip", "nan"],
    "unknown device": ["train", "--device", "tpu"],
    "unknown precision": ["train", "--precision", "int8"],
    "unknown padding": ["train", "--pad", "none"],
    "unknown evaluation": ["train", "--evaluate-when", "sometimes"],
    "one example": ["train", "--n-train", "1"],
    "task and table": ["train", "--task", "sst2", "--train-file", "a.csv", "--text", "a", "--label", "b"],
    "table without columns": ["train", "--train-file", "a.csv"],
    "column without table": ["train", "--text", "sentence"],
    "validation without training": ["train", "--eval-file", "a.csv"],
    "wrong suffix": ["train", "--out", "v.safetensors"],
    "no folder for the result": ["train", "--out", "nowhere/v.beft.safetensors"],
    "nothing but the suffix": ["train", "--out", ".beft.safetensors"],
    "no folder for the checkpoint": ["train", "--checkpoint", "nowhere/c.safetensors"],
    "a folder as checkpoint": ["train", "--checkpoint", "."],
    "terms of a selection": ["select", "--terms", "v"],
    "second file without second run": ["select", "--trained-out", "v.beft.safetensors"],
    "both into one file": [
        "select",
        "--then-train",
        "--out",
        "v.beft.safetensors",
        "--trained-out",
        "v.beft.safetensors",
    ],
    "model that is a path": ["train", "--model", "./nowhere"],
    "model name of signs": ["train", "--model", "a b!"],
    "score of nothing": ["score"],
    "score of a missing file": ["score", "nowhere.beft.safetensors"],
    "score of a folder": ["score", "."],
    "inspect of a name too long": ["inspect", "n" * 5000],
    "inspect of a name with a newline": ["inspect", "a\nb"],
    "inspect of a name with a zero byte": ["inspect", "a\0b"],
    "inspect of two": ["inspect", "a", "b"],
    "evaluate nothing": ["evaluate"],
    "evaluate a missing file": ["evaluate", "nowhere.beft.safetensors", "--task", "sst2"],
    "merge of nothing": ["merge"],
    "extract without a result": ["extract", "bundled", "bundled"],
    "extract of a missing model": ["extract", "./nowhere", "./nowhere", "--out", "e.beft.safetensors"],
    "adapter that is missing": ["peft", "import", "nowhere", "--base", "bundled", "--out", "e.beft.safetensors"],
    "unknown part of peft": ["peft", "imprt"],
    "peft alone": ["peft"],
}


@pytest.mark.parametrize("words", WRONG_FLAGS.values(), ids=WRONG_FLAGS)
def test_wrong_flags(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(beft(*words))
    assert_refused(beft(*words, "--json"))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    assert "cannot be written" in assert_refused(beft("train", "--out", tmp_path / "v.beft.safetensors"))


def _other_base() -> dict[Any, Any]:
    return base(seed=7)


MERGES: dict[str, tuple[list[Any], list[str]]] = {
    "one snapshot": ([{}], []),
    "unknown method": ([{}, {"seed": 2}], ["--method", "magic"]),
    "parameter of another method": ([{}, {"seed": 2}], ["--method", "mean", "--scale", "1"]),
    "density above one": ([{}, {"seed": 2}], ["--method", "ties", "--density", "1.5"]),
    "density NaN": ([{}, {"seed": 2}], ["--method", "dare", "--density", "nan"]),
    "too few weights": ([{}, {"seed": 2}], ["--method", "weighted", "--weights", "1"]),
    "weights of a comma": ([{}, {"seed": 2}], ["--method", "weighted", "--weights=,"]),
    "weights in words": ([{}, {"seed": 2}], ["--method", "weighted", "--weights=a,b"]),
    "infinite weight": ([{}, {"seed": 2}], ["--method", "weighted", "--weights", "1", "1e999"]),
    "slerp of three": ([{}, {"seed": 2}, {"seed": 3}], ["--method", "slerp"]),
    "unknown scope": ([{}, {"seed": 2}], ["--method", "slerp", "--scope", "row"]),
    "no Fisher information": ([{}, {"seed": 2}], ["--method", "fisher"]),
    "other base": ([{}, {"pre": _other_base()}], []),
    "other terms": ([{}, {"trained_terms": ("v",)}], []),
    "other layers": ([{}, {"layers": (0,)}], []),
    "term that was not trained": ([{}, {"seed": 2}], ["--terms", "o"]),
    "evaluation without heads": ([{}, {"seed": 2}], ["--evaluate"]),
}


@pytest.mark.parametrize(("sources", "flags"), MERGES.values(), ids=MERGES)
def test_merges_that_make_no_sense(sources: list[Any], flags: list[str], tmp_path: Path) -> None:
    files = []
    for number, details in enumerate(sources):
        files.append(tmp_path / f"{number}.beft.safetensors")
        write_snapshot(files[-1], example(**details))
    assert_refused(beft("merge", *files, *flags))


def test_snapshots_that_cannot_be_evaluated(tmp_path: Path) -> None:
    file = tmp_path / "a.beft.safetensors"
    write_snapshot(file, example(full=True))
    assert "task1" in assert_refused(beft("evaluate", file))
    assert "task1" in assert_refused(beft("evaluate", file, "--task", "demo-sentiment"))
    assert_refused(beft("evaluate", file, "--biases", "both", "--task", "demo-sentiment"))
    write_snapshot(file, example(full=True, mode="full", trained_terms=()))
    assert "weights" in assert_refused(beft("evaluate", file, "--task", "demo-sentiment"))


@pytest.mark.parametrize(
    "config", ["", "[]", "{", json.dumps({"model_type": "magic"}), json.dumps({"model_type": "bert"})]
)
def test_models_that_are_none(config: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 16)
    out = tmp_path / "out.beft.safetensors"
    assert_refused(beft("extract", tmp_path, tmp_path, "--out", out))
    assert not out.exists()
