"""Where a task's data is: generated, in a folder, in the Hub's cache, or not here, with what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from beft_core.cli.app import run
from beft_core.tasks.registry import HUB_REVISIONS, TASKS
from beft_core.tasks.sources.presence import presence


@pytest.fixture(autouse=True)
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BEFT_GLUE_DIR", raising=False)
    monkeypatch.delenv("BEFT_SUPERGLUE_DIR", raising=False)
    monkeypatch.delenv("BEFT_QA_DIR", raising=False)
    return tmp_path / "cache"


def cached(cache: Path, task: str, *splits: str, commit: str = "abc") -> None:
    """The files of a task as the Hub's client keeps them."""
    hub = TASKS[task].hub
    assert hub is not None
    repository = cache / f"datasets--{hub[0].replace('/', '--')}"
    head = repository / "refs" / (HUB_REVISIONS[hub[0]] or "main")
    head.parent.mkdir(parents=True, exist_ok=True)
    head.write_text(commit)
    for split in splits:
        file = repository / "snapshots" / commit / hub[1] / f"{split}-00000-of-00001.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")


def test_demo_tasks_are_always_here() -> None:
    assert presence(TASKS["demo-sentiment"]).where == "generated"


def test_what_is_nowhere_says_what_to_do() -> None:
    for task, variable in (("rte", "BEFT_GLUE_DIR"), ("cb", "BEFT_SUPERGLUE_DIR"), ("prompt-drop", "BEFT_QA_DIR")):
        found = presence(TASKS[task])
        assert not found.here and found.advice.startswith(f"set {variable} ") and "Hub" in found.advice


def test_a_folder_has_some_of_the_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "RTE").mkdir()
    (tmp_path / "RTE" / "dev.tsv").write_text("index\n")
    monkeypatch.setenv("BEFT_GLUE_DIR", str(tmp_path))
    assert presence(TASKS["rte"]).where == "BEFT_GLUE_DIR"
    assert not presence(TASKS["sst2"]).here
    monkeypatch.setenv("BEFT_GLUE_DIR", str(tmp_path / "gone"))
    assert "no folder" in presence(TASKS["rte"]).advice


@pytest.mark.parametrize("task", ["rte", "cb"])
def test_a_task_in_the_hubs_cache_is_here_once_all_its_splits_are(task: str, nothing_here: Path) -> None:
    cached(nothing_here, task, "train")
    assert not presence(TASKS[task]).here
    cached(nothing_here, task, "validation")
    assert presence(TASKS[task]).where == "Hub cache"
    cached(nothing_here, task, commit="newer")  # the branch went on, and nothing of it was fetched yet
    assert not presence(TASKS[task]).here


def test_mnli_needs_both_of_its_validation_sets(nothing_here: Path) -> None:
    cached(nothing_here, "mnli", "train", "validation_matched")
    assert not presence(TASKS["mnli"]).here
    cached(nothing_here, "mnli", "validation_mismatched")
    assert presence(TASKS["mnli"]).here


def test_the_command_marks_what_is_not_here(nothing_here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cached(nothing_here, "rte", "train", "validation")
    assert run(["tasks"]) == 0
    told = capsys.readouterr().out
    lines = {line.split()[0]: line for line in told.splitlines() if line.split()}
    assert lines["rte"].rstrip().endswith("Hub cache") and lines["sst2"].rstrip().endswith("not here")
    assert "not here (cb, wic, boolq, prompt-cb," in told and "prompt-record): set BEFT_SUPERGLUE_DIR" in told
    assert run(["tasks", "--json"]) == 0
    known = {task["name"]: task["data"] for task in json.loads(capsys.readouterr().out)}
    assert (
        known["rte"] == {"where": "Hub cache", "advice": "", "damaged": False}
        and "BEFT_GLUE_DIR" in known["sst2"]["advice"]
    )
