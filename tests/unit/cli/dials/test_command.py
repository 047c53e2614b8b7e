"""``beft dial``: the answer first, tables within 80 columns, JSON that a file holds too, one line for wrong input."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_runner import assert_refused, beft, stored
from example_dials import example_dial

from beft_core.dials.config import DialConfig
from beft_core.dials.result import Dial, read_dial
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.load import load_task


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[DialConfig]]:
    """What was asked of the engine, which measures nothing."""
    configs: list[DialConfig] = []

    def fake(snapshot: Snapshot, config: DialConfig, *_: Any, **__: Any) -> Dial:
        configs.append(config)
        return example_dial(tuple(snapshot.meta.trained_terms), snapshot)

    monkeypatch.setattr("beft_core.dials.measure.measure", fake)
    monkeypatch.setattr("beft_core.cli.evaluation.locate", lambda name: None)
    monkeypatch.setattr("beft_core.cli.evaluation.read_data", lambda run: load_task("demo-sentiment"))
    return configs


def test_the_answer_comes_first_and_tables_fit(folder: Path, asked: list[DialConfig]) -> None:
    done = beft("dial", stored(folder, task="sst2", full=True), "--lambdas", "-1", 0, "0.5", "--n-eval", 50)
    assert done.status == 0, done.err
    first, *rest = done.out.splitlines()
    assert first.startswith("At λ = 1 Spearman correlation is 71.0 (69.0 to 73.0)")
    assert all(len(line) <= 80 for line in done.out.splitlines())
    text = "\n".join(rest)
    assert "all layers turned together, in %" in text and "one layer switched off, in %" in text
    assert "Layer index (baseline)" in text and "how each rule orders the 9 terms in each layer" in text
    (config,) = asked
    assert config.lambdas == (-1, 0, 0.5, 1) and config.limit == 50 and config.task == "sst2"


def test_json_and_the_file_are_the_result(folder: Path, asked: list[DialConfig]) -> None:
    done = beft("dial", stored(folder, task="sst2", full=True), "--json", "--out", "a.dial.json")
    written = read_dial(folder / "a.dial.json")
    assert {"file": done.json["file"], **json.loads(json.dumps(written.to_dict()))} == done.json
    assert "wrote a.dial.json" in done.err


def test_wrong_input_is_told(folder: Path, asked: list[DialConfig]) -> None:
    path = stored(folder, task="sst2", full=True)
    assert "--out a.txt" in assert_refused(beft("dial", path, "--out", "a.txt"))
    assert "got λ = 1000" in assert_refused(beft("dial", path, "--lambdas", 1000))
    assert "got --lambdas x" in assert_refused(beft("dial", path, "--lambdas=x"))
    assert "without a head for rte" in assert_refused(beft("dial", path, "--task", "rte"))
    assert not asked
