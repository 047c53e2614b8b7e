"""The folder of a sweep: what is there after a crash between two writes, and what is refused."""

from __future__ import annotations

import errno
import itertools
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from example_snapshots import example

from beft_core.errors import UserError
from beft_core.files import safe_io
from beft_core.files.disk import NoRoom
from beft_core.snapshots.snapshot import read_snapshot
from beft_core.sweeps import store
from beft_core.sweeps.rows import plan_columns
from beft_core.sweeps.spec import SweepSpec, identity
from beft_core.sweeps.store import SweepFolder
from beft_core.sweeps.table import read_table

SPEC = SweepSpec.from_dict({"terms": ["v", "q"], "seeds": 2, "n_train": 8})
RUNS = SPEC.runs()


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    made = SweepFolder(tmp_path / "sweep")
    made.begin(SPEC)
    return made


def row(number: int, **more: Any) -> dict[str, Any]:
    return {**plan_columns(RUNS[number]), "state": "done", **more}


def full_disk_for(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Files whose path holds `part` find no room: their last step fails."""
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if part in str(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)


def test_a_row_is_not_there_before_its_snapshot(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    name = identity(RUNS[0])
    with monkeypatch.context() as patch:
        full_disk_for(patch, "/snapshots/")
        with pytest.raises(NoRoom):
            folder.save(row(0), example())
    assert folder.finished(RUNS) == {} and not list((folder.path / "rows").iterdir())
    with monkeypatch.context() as patch:
        full_disk_for(patch, "/rows/")
        with pytest.raises(NoRoom):
            folder.save(row(0), example())
    assert read_snapshot(folder.snapshot(name)).keys() and folder.finished(RUNS) == {}
    folder.save(row(0), example())
    assert list(folder.finished(RUNS)) == [name]


def test_what_an_old_row_trains_is_called_as_it_is_today(tmp_path: Path) -> None:
    """A term with demonstrations was called as without: in one folder the two were one, or a comparison lacked it."""
    methods = [{"method": "v", "demonstrations": 4}]
    made = SweepFolder(tmp_path / "sweep")
    spec = SweepSpec.from_dict({"tasks": ["prompt-rte"], "terms": ["v"], "methods": methods, "seeds": 1, "n_train": 8})
    made.begin(spec)
    for run in spec.runs():
        made.save({**plan_columns(run), "state": "done", "trains": "v"}, None)
    assert list(made.table(spec.runs())["trains"]) == ["v", "v demonstrations=4"]


def test_a_row_from_before_a_column_existed_is_completed_from_its_configuration(folder: SweepFolder) -> None:
    older = {name: value for name, value in row(0, value=0.5).items() if not name.startswith("adam_")}
    folder.save(older, None)
    folder.save(row(1), None)
    table = folder.table(RUNS)
    assert list(table["adam_epsilon"]) == [1e-8, 1e-8] and set(table["adam_epsilon_at"]) == {"after"}
    assert table["value"][0] == 0.5


def test_a_worker_that_leaves_has_not_the_last_word_with_an_old_table(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.save(row(0), None)
    write, calls = store.write_table, [0]

    def slowly(table: pd.DataFrame, path: Path) -> None:
        calls[0] += 1
        if calls[0] == 1:
            folder.save(row(1), None)
            folder.write_table(RUNS)  # by another worker, which ends meanwhile
        write(table, path)

    monkeypatch.setattr(store, "write_table", slowly)
    assert len(folder.write_last_table(RUNS)) == len(read_table(folder.path)) == 2
    numbers = itertools.count()
    monkeypatch.setattr(SweepFolder, "rows_there", lambda self: {str(next(numbers))})
    folder.write_last_table(RUNS)  # ends also where rows come all the time


def test_a_worker_of_another_grid_leaves_the_table_to_the_one_that_was_begun_last(folder: SweepFolder) -> None:
    folder.save(row(0), None)
    folder.save(row(1), None)
    first, second = (SweepSpec(terms=("v",), seeds=(seed,), n_train=(8,)) for seed in (0, 1))
    assert [identity(one.runs()[0]) for one in (first, second)] == [row(0)["run"], row(1)["run"]]
    folder.begin(first)
    assert not folder.is_of_another(first.runs())
    folder.begin(second)  # with other flags, while somebody still works on the first
    assert folder.is_of_another(first.runs()) and not folder.is_of_another(second.runs())
    assert list(folder.write_table(first.runs())["run"]) == [row(0)["run"]], "what its own command shows"
    assert list(read_table(folder.path)["run"]) == [row(1)["run"]]


def test_a_row_of_another_run_is_none_of_this_one(folder: SweepFolder) -> None:
    folder.save(row(0), None)
    rows = folder.path / "rows"
    first, second = (rows / f"{identity(run)}.json" for run in RUNS[:2])
    second.write_bytes(first.read_bytes())
    assert list(folder.finished(RUNS)) == [identity(RUNS[0])]
    assert list(folder.table(RUNS)["run"]) == [identity(RUNS[0])]
    for damaged in (row(1) | {"never heard of": 1}, {"state": "done"}, {}):
        second.write_text(json.dumps(damaged))
        assert list(folder.finished(RUNS)) == [identity(RUNS[0])]
    second.write_bytes(first.read_bytes()[:-9])
    assert list(folder.finished(RUNS)) == [identity(RUNS[0])]


def test_a_row_that_is_to_be_replaced_stays_until_the_new_one_is_there(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (identity(run) for run in RUNS[:2])
    folder.save(row(0, value=0.5), None)
    folder.save(row(1), None)
    folder.save(row(0, value=0.7), None)
    assert folder.finished(RUNS)[first]["value"] == 0.5, "what is there is not written again"
    folder.mark_again([first, "0123456789abcdef"])
    assert folder.marked_again() == {first} and list(folder.finished(RUNS)) == [second]
    assert folder.rows_there() == {second} and set(folder.all_rows(RUNS)) == {first, second}
    assert list(folder.write_table(RUNS)["run"]) == list(read_table(folder.path)["run"]) == [first, second]
    with monkeypatch.context() as patch:  # killed before the new row is there
        full_disk_for(patch, "/rows/")
        with pytest.raises(NoRoom):
            folder.save(row(0, value=0.7), example())
    assert folder.table(RUNS)["value"][0] == 0.5 and list(folder.finished(RUNS)) == [second]
    unlink = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == store.AGAIN:
            raise KeyboardInterrupt
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:  # killed right after it
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.save(row(0, value=0.6), example())
    assert folder.table(RUNS)["value"][0] == 0.6 and list(folder.finished(RUNS)) == [second]
    folder.save(row(0, value=0.7), example())
    assert folder.finished(RUNS)[first]["value"] == 0.7 and not folder.marked_again()
    folder.save(row(0, value=0.9), None)
    assert folder.finished(RUNS)[first]["value"] == 0.7


def test_a_new_row_that_failed_takes_the_place_of_none_that_did_not(folder: SweepFolder) -> None:
    name = identity(RUNS[0])
    for before, after, stays in (("done", "failed", True), ("failed", "failed", False), ("failed", "done", False)):
        (folder.rows / f"{name}.json").unlink(missing_ok=True)
        folder.save(row(0) | {"state": before, "steps": 1}, None)
        folder.mark_again([name])
        folder.save(row(0) | {"state": after, "steps": 2}, None)
        found = folder.finished(RUNS)[name]  # not marked any more: nobody tries it for ever
        assert (found["state"], found["steps"]) == ((before, 1) if stays else (after, 2))


@pytest.mark.parametrize("before", ["done", "failed"])
def test_what_was_trained_again_is_kept_although_a_later_start_took_its_mark_away(
    folder: SweepFolder, before: str
) -> None:
    """Another start, with --no-snapshots, wants nothing made again; who trains it already has a snapshot to give."""
    name = identity(RUNS[0])
    why = {"failure": "memory ran out with this run alone"} if before == "failed" else {}
    folder.save(row(0) | {"state": before, "steps": 1, **why}, None)
    folder.mark_again([name])
    folder.mark_again(())
    folder.save(row(0) | {"state": "failed", "steps": 2}, None)
    folder.save(row(0) | {"state": "done", "steps": 3}, example())
    assert folder.finished(RUNS)[name]["steps"] == 3 and folder.snapshot(name).is_file()
    folder.save(row(0) | {"state": "done", "steps": 4}, example())
    assert folder.finished(RUNS)[name]["steps"] == 3, "now it is there, and is not written again"


def test_a_mark_is_taken_from_one_run_alone(folder: SweepFolder) -> None:
    names = [identity(run) for run in RUNS[:2]]
    for number in range(2):
        folder.save(row(number), None)
    folder.mark_again(names)
    folder.unmark(names[0])
    folder.unmark("0123456789abcdef")
    assert folder.marked_again() == {names[1]}


def test_marks_are_those_of_the_last_start(folder: SweepFolder) -> None:
    names = [identity(run) for run in RUNS[:3]]
    for number in range(3):
        folder.save(row(number), None)
    folder.mark_again(names[:2])
    folder.mark_again(names[1:])
    assert folder.marked_again() == set(names[1:])
    (folder.rows / f"{names[1]}.json").unlink()
    assert folder.marked_again() == {names[2]} and folder.rows_there() == {names[0]}
    folder.save(row(1), None)
    assert names[1] in folder.finished(RUNS), "a row that was removed by hand meanwhile"
    folder.mark_again(())
    assert folder.rows_there() == set(names)


def test_the_order_of_writing_is_that_of_the_files(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is on the disk, name and all, before the next begins."""
    order: list[str] = []
    real = safe_io.sync_folder

    def sync(path: Path) -> None:
        real(path)
        order.append(path.name)

    monkeypatch.setattr(safe_io, "sync_folder", sync)
    folder.save(row(0), example())
    assert order == ["snapshots", "rows"]


@pytest.mark.parametrize("survives", range(7))
def test_a_folder_that_was_hardly_begun_is_begun_again(
    survives: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after so many of the steps that make a sweep's folder: of folders and of files that get their name."""
    folder, steps = SweepFolder(tmp_path / "sweep"), list[str]()
    mkdir, replace = os.mkdir, Path.replace

    def alive(name: Any) -> None:
        if len(steps) == survives:
            raise KeyboardInterrupt
        steps.append(Path(name).name)

    def made(path: Any, *rest: Any) -> None:
        alive(path)
        mkdir(path, *rest)

    def replaced(path: Path, target: Path) -> Path:
        alive(target)
        return replace(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "mkdir", made)
        patch.setattr(Path, "replace", replaced)
        folder.begin(SPEC)
    assert steps == ["sweep", "sweep.json", "rows", "snapshots", "claims", "workers", "plan"][:survives]
    folder.begin(SPEC)
    folder.save(row(0), example())
    assert list(folder.finished(RUNS)) == [identity(RUNS[0])]


def test_what_a_smaller_grid_leaves_out_is_said_and_kept(folder: SweepFolder) -> None:
    told: list[str] = []
    before = (folder.path / "sweep.json").read_bytes()
    folder.save(row(0), None)
    folder.save(row(3), None)
    for grid in (SPEC, SweepSpec.from_dict({"terms": ["v", "q"], "seeds": 3, "n_train": 8}), SPEC):
        folder.begin(grid, told.append)  # the last has one seed less, of which nothing was done
    assert len(told) == 1 and "2 fine-tunes that this one lacks, 0 of them finished" in told[0]
    smaller = SweepSpec.from_dict({"terms": ["v"], "seeds": 2, "n_train": 8})
    folder.begin(smaller, told.append)
    folder.begin(smaller, told.append)
    assert len(told) == 2 and "2 fine-tunes that this one lacks, 1 of them finished" in told[1]
    assert list(folder.table(smaller.runs())["run"]) == [identity(RUNS[0])]
    kept = folder.path / told[1].rpartition(" ")[2]
    assert kept.read_bytes() == before and len(list(kept.parent.iterdir())) == 2
    folder.begin(SPEC, told.append)
    assert len(told) == 2 and len(folder.finished(RUNS)) == 2


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"holds thesis\.tex"):
        SweepFolder(tmp_path).begin(SPEC)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_table_that_has_changed_since_the_sweep_began_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "films.csv"
    table.write_text("review,stars\nfine,good\npoor,bad\n")
    fields = {"train_file": str(table), "text": "review", "label": "stars", "name": "films"}
    spec = SweepSpec.from_dict({"tasks": [fields], "terms": ["v"]})
    made = SweepFolder(tmp_path / "sweep")
    made.begin(spec.pinned())
    assert made.continued(spec.pinned()) == made.spec() == spec.pinned()
    table.write_text("review,stars\nfine,good\npoor,good\n")
    with pytest.raises(UserError, match=r"films.csv, which has changed since the sweep in .* began"):
        made.continued(spec)
    other = SweepSpec.from_dict({"tasks": [{**fields, "name": "films-2"}], "terms": ["v"]})
    assert made.continued(other).tasks == ("films-2",)
