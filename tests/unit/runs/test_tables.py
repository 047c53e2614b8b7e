"""Tables are found by the run's folder alone, never by what a snapshot says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from example_snapshots import example

from beft_core.runs.run import Run
from beft_core.runs.tables import recorded_table, recorded_tables
from beft_core.snapshots.snapshot import write_snapshot
from beft_core.tasks.sources.user_files import OwnTable

FIELDS = {"train_file": "/data/films.csv", "text": "review", "label": "stars", "name": "films"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(kind: str, config: dict[str, Any]) -> Run:
    made = Run.create(kind, config)
    write_snapshot(made.snapshot, example())
    return made


def test_a_fine_tune_and_a_sweep_of_this_home_know_their_tables(home: Path) -> None:
    table = OwnTable(**FIELDS)
    one = run("train", {**FIELDS, "mode": "terms", "problem": None, "table_sha256": "0" * 64})
    assert recorded_table(one.snapshot, "films") == OwnTable(**FIELDS, sha256="0" * 64)
    assert recorded_table(one.snapshot, "another") is None
    sweep = run("sweep", {"tasks": ["films"], "terms": ["v"], "tables": {"films": table.to_dict()}})
    assert recorded_table(sweep.sweep / "snapshots" / "0123.beft.safetensors", "films") == table
    assert recorded_table(sweep.sweep / "snapshots" / "0123.beft.safetensors", "another") is None


def test_tables_of_several_snapshots_are_found_by_task_and_those_in_memory_have_none(home: Path) -> None:
    head = {"kind": "classification", "labels": ["bad", "good"]}
    films = example(heads={"films": head, "sst2": head})
    file = run("train", FIELDS).snapshot
    assert recorded_tables([films, films], [None, file]) == {"films": OwnTable(**FIELDS)}
    assert recorded_tables([films], [None]) == {}


def test_a_task_of_the_registry_has_none(home: Path) -> None:
    assert recorded_table(run("train", {"task": "sst2"}).snapshot, "sst2") is None


@pytest.mark.parametrize("broken", [{"train_file": "a.csv"}, {**FIELDS, "name": 3}, {**FIELDS, "problem": "ranking"}])
def test_a_damaged_configuration_has_none(home: Path, broken: dict[str, Any]) -> None:
    assert recorded_table(run("train", broken).snapshot, "films") is None


def test_a_folder_from_elsewhere_that_looks_like_a_run_has_none(home: Path, tmp_path: Path) -> None:
    made = run("train", FIELDS)
    assert recorded_table(made.snapshot, "films") is not None
    elsewhere = tmp_path / "elsewhere" / "runs" / made.id
    shutil.copytree(made.path, elsewhere)
    assert recorded_table(elsewhere / made.snapshot.name, "films") is None
    assert recorded_table(home / "runs" / "loose.beft.safetensors", "films") is None
