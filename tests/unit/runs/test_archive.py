"""Measurements of a run as tables in the archive that is downloaded."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from beft_core.config import RunConfig
from beft_core.runs import archive
from beft_core.runs.archive import LEFT_OUT, bytes_of, too_large, zip_of
from beft_core.runs.overview import overview
from beft_core.runs.run import Run
from beft_core.runs.status import Status

RECORDS: list[dict[str, Any]] = [
    {"type": "step", "step": 1, "total": 4, "loss": [0.9]},
    {"type": "scores", "step": 2, "scores": {"v": {"magnitude": 0.5, "projection_ratio": 1.25}}},
    {"type": "epoch", "run": 0, "epoch": 1, "step": 2, "train_loss": 0.8, "accuracy": 0.5, "f1": 0.25},
    {"type": "step", "step": 3, "total": 4, "loss": [0.7]},
    {"type": "epoch", "run": 0, "epoch": 2, "step": 4, "train_loss": 0.6, "accuracy": 0.75, "f1": 0.625},
]


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, list[dict[str, str]]]:
    """Name of a table in the archive -> its rows."""
    run = Run.create("train", RunConfig(task="sst2", seed=7).to_dict(), tmp_path)
    run.metrics.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    run.write_status(Status("done", created=1.0, began=2.0, ended=5.5))
    with zipfile.ZipFile(io.BytesIO(zip_of([overview(run)]))) as archive:
        return {
            name.removeprefix(f"{run.id}/"): list(csv.DictReader(io.StringIO(archive.read(name).decode())))
            for name in archive.namelist()
            if name.endswith(".csv")
        }


def test_every_measurement_stands_at_its_step(tables: dict[str, list[dict[str, str]]]) -> None:
    assert tables["loss.csv"] == [{"step": "1", "loss": "0.9"}, {"step": "3", "loss": "0.7"}]
    assert tables["metrics.csv"] == [
        {"step": "2", "train_loss": "0.8", "accuracy": "0.5", "f1": "0.25"},
        {"step": "4", "train_loss": "0.6", "accuracy": "0.75", "f1": "0.625"},
    ]
    assert tables["scores.csv"] == [
        {"term": "v", "approach": "magnitude", "step": "2", "score": "0.5"},
        {"term": "v", "approach": "projection_ratio", "step": "2", "score": "1.25"},
    ]


def test_a_run_is_a_row_with_its_last_metrics_and_settings(tables: dict[str, list[dict[str, str]]]) -> None:
    (row,) = tables["runs.csv"]
    told = {name: row[name] for name in ("state", "seconds", "accuracy", "f1", "task", "seed")}
    assert told == {"state": "done", "seconds": "3.5", "accuracy": "0.75", "f1": "0.625", "task": "sst2", "seed": "7"}


def test_what_is_there_and_left_out_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create("train", RunConfig(task="sst2", seed=7).to_dict(), tmp_path)
    run.write_status(Status("done", created=1.0, began=2.0, ended=5.5))
    snapshot = run.path / "snapshot.beft.safetensors"
    snapshot.write_bytes(b"x" * 5000)
    (run.path / "log.txt").unlink(missing_ok=True)
    (run.path / "log.txt").symlink_to("/etc/hostname")

    def names() -> tuple[set[str], str]:
        with zipfile.ZipFile(io.BytesIO(zip_of([overview(run)]))) as made:
            names = {name.removeprefix(f"{run.id}/") for name in made.namelist()}
            return names, made.read(LEFT_OUT).decode() if LEFT_OUT in names else ""

    held, listed = names()
    assert snapshot.name in held and "log.txt" not in held
    assert listed.startswith(f"{run.id}/log.txt: ") and listed.count("\n") == 1  # not the files that are not there
    assert too_large([overview(run)]) == 0 and bytes_of([overview(run)]) >= 5000
    monkeypatch.setattr(archive, "MAX_BYTES", 4999)
    held, listed = names()
    assert snapshot.name not in held
    assert f"{run.id}/{snapshot.name}: 5000 bytes; expected at most 4999\n" in listed
    assert too_large([overview(run)]) == 1 and bytes_of([overview(run)]) < 5000
