"""Names, tags and estimates of runs; deleting and bringing back."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from beft_core.errors import UserError
from beft_core.process_id import ProcessId
from beft_core.runs import about as library
from beft_core.runs.about import About, about
from beft_core.runs.run import Run, find_run, list_runs
from beft_core.runs.status import Status


def ended(root: Path, state: str = "done") -> Run:
    run = Run.create("train", {"task": "sst2"}, root)
    run.write_status(Status(state, created=1.0, began=1.0, ended=2.0))
    return run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return ended(tmp_path)


def test_what_is_added_is_kept_side_by_side(run: Run) -> None:
    assert about(run) == About()
    library.rename(run, "  the\nbest \u202e one ")
    library.set_tags(run, ["paper", "sst2", "paper"])
    library.set_estimate(run, 61.5, 2 * 10**9)
    library.set_note(run, "\n Why:\tseed 3\u202e <b>\r\n\n it diverged \n")
    estimate = {"seconds": 61.5, "bytes": 2 * 10**9}
    assert about(run) == About("the best one", ("paper", "sst2"), estimate, "Why: seed 3 <b>\n\nit diverged")
    library.set_note(run, " \n ")
    library.rename(run, "")
    library.set_tags(run, [])
    assert about(run) == About(estimate={"seconds": 61.5, "bytes": 2 * 10**9})


@pytest.mark.parametrize("name", ["x" * 81, 5, None])
def test_bad_names_change_nothing(run: Run, name: object) -> None:
    library.rename(run, "before")
    with pytest.raises(UserError, match="name of"):
        library.rename(run, name)  # type: ignore[arg-type]
    assert about(run).name == "before"


@pytest.mark.parametrize("note", ["x" * 1001, "x" * 10**6, "a\n" * 20 + "b", 5, None])
def test_bad_notes_change_nothing(run: Run, note: object) -> None:
    library.set_note(run, "before")
    with pytest.raises(UserError, match="note of"):
        library.set_note(run, note)  # type: ignore[arg-type]
    assert about(run).note == "before"
    library.set_note(run, "x" * 1000)
    assert len(about(run).note) == 1000


@pytest.mark.parametrize("tags", [["x" * 25], [""], ["  "], [3], "word", None, [str(i) for i in range(9)]])
def test_bad_tags_change_nothing(run: Run, tags: object) -> None:
    library.set_tags(run, ["before"])
    with pytest.raises(UserError):
        library.set_tags(run, tags)  # type: ignore[arg-type]
    assert about(run).tags == ("before",)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), "5", True])
def test_bad_estimates_are_refused(run: Run, seconds: object) -> None:
    with pytest.raises(UserError, match="estimate"):
        library.set_estimate(run, seconds, 1)  # type: ignore[arg-type]
    assert about(run) == About()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b'{"name": 5}',
        b'{"tags": "x"}',
        b'{"tags": [5]}',
        b'{"note": ["x"]}',
        b'{"estimate": 5}',
        b"\xff",
        b'{"estimate": {"seconds": 1}}',
        b'{"name": "' + b"x" * 10**5 + b'"}',
    ],
)
def test_a_damaged_file_says_nothing(run: Run, damage: bytes) -> None:
    (run.path / "about.json").write_bytes(damage)
    assert about(run) == About()
    library.rename(run, "again")
    assert about(run).name == "again"


def test_delete_and_restore_keep_every_byte(run: Run, tmp_path: Path) -> None:
    other = ended(tmp_path)
    run.metrics.write_bytes(b"{}\n")
    files = {path.name: path.read_bytes() for path in run.path.iterdir()}
    library.delete(run)
    assert list_runs(tmp_path) == [other] and [r.id for r in library.deleted(tmp_path)] == [run.id]
    with pytest.raises(UserError):
        find_run(run.id, tmp_path)
    assert library.restore(run.id, tmp_path) == run
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == files
    assert library.deleted(tmp_path) == [] and list_runs(tmp_path) == [other, run]


def test_what_is_gone_cannot_be_deleted_or_changed(run: Run, tmp_path: Path) -> None:
    library.delete(run)
    for change in (library.delete, lambda run: library.rename(run, "x")):
        with pytest.raises(UserError):
            change(run)
    assert library.empty_trash(root=tmp_path) == 1
    with pytest.raises(UserError, match="the name of a run"):
        library.restore(run.id, tmp_path)


@pytest.mark.parametrize("state", ["queued", "running"])
def test_active_runs_are_not_deleted(state: str, tmp_path: Path) -> None:
    run = Run.create("train", {}, tmp_path)
    run.write_status(Status(state, created=time.time(), process=ProcessId.of(psutil.Process())))
    with pytest.raises(UserError, match="cancel"):
        library.delete(run)
    run.ask_cancel()
    with pytest.raises(UserError, match="cancelling"):
        library.delete(run)
    assert list_runs(tmp_path) == [run]


def test_a_vanished_or_damaged_run_can_be_deleted(tmp_path: Path) -> None:
    lost = Run.create("train", {}, tmp_path)
    lost.write_status(Status("running", created=1.0, process=ProcessId(os.getpid(), 1.0)))
    damaged = Run.create("train", {}, tmp_path)
    (damaged.path / "status.json").write_bytes(b"{")
    for run in (lost, damaged):
        library.delete(run)
    assert {run.id for run in library.deleted(tmp_path)} == {lost.id, damaged.id}


@pytest.mark.parametrize("name", ["", "..", "../runs", "../../etc/passwd", "x", "a" * 300, "\0"])
def test_names_never_become_paths(run: Run, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="the name of a run"):
        library.restore(name, tmp_path)


def test_only_old_trash_is_emptied(tmp_path: Path) -> None:
    old, young = ended(tmp_path), ended(tmp_path)
    library.delete(old)
    library.delete(young)
    os.utime(tmp_path / "trash" / old.id, (1.0, 1.0))
    (tmp_path / "trash" / "notes").mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "trash" / "20250101-000000-000000-abcdef").symlink_to(outside)
    assert [run.id for run in library.deleted(tmp_path)] == [young.id, old.id]
    assert library.empty_trash(3600, tmp_path) == 1
    assert [run.id for run in library.deleted(tmp_path)] == [young.id]
    assert library.empty_trash(root=tmp_path) == 1
    assert (tmp_path / "trash" / "notes").is_dir() and outside.is_dir()


def test_trash_is_as_old_as_the_deletion_however_old_the_run_is(tmp_path: Path) -> None:
    old = ended(tmp_path)
    os.utime(old.path, (1.0, 1.0))
    library.delete(old)
    assert library.empty_trash(3600, tmp_path) == 0 and library.deleted(tmp_path)
