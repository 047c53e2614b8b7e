"""Snapshots kept on request: generated names, the original one as text, and nothing outside of the folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from example_snapshots import example

from beft_core.errors import UserError
from beft_core.exchange import upload_library as module
from beft_core.exchange.upload_library import find_kept, forget, keep, kept
from beft_core.files.disk import NoRoom
from beft_core.snapshots.snapshot import read_snapshot


def test_kept_snapshots_come_back_whole_and_the_newest_first(tmp_path: Path) -> None:
    first, second = keep(example(1, full=True), "one", tmp_path), keep(example(2), "two", tmp_path)
    assert [one.name for one in kept(tmp_path)] == ["two", "one"]
    assert find_kept(first.id, tmp_path) == first and second > first
    back = read_snapshot(first.path)
    for name, array in example(1, full=True).tensors().items():
        np.testing.assert_array_equal(back.tensors()[name], array)
    assert back.meta == example(1, full=True).meta


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "/abs.beft.safetensors", "a\0b\n<b>", "x" * 5000, "", "Ünï 🙂"]
)
def test_names_of_strangers_never_become_paths(tmp_path: Path, name: str) -> None:
    one = keep(example(), name, tmp_path / "home")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.parent for path in files} == {tmp_path / "home" / "uploads"}
    assert {path.name.split(".")[0] for path in files} == {one.id}
    (listed,) = kept(tmp_path / "home")
    assert listed.name.isprintable() and len(listed.name) <= module.NAME_CHARACTERS


def test_forgetting(tmp_path: Path) -> None:
    one = keep(example(), "one", tmp_path)
    forget(one.id, tmp_path)
    forget(one.id, tmp_path)
    assert not kept(tmp_path) and not list((tmp_path / "uploads").iterdir())
    with pytest.raises(UserError, match="kept snapshot"):
        find_kept(one.id, tmp_path)


@pytest.mark.parametrize("wrong", ["", "..", "../x", "20260101-000000-000000-abcdef/../../x", "*"])
def test_only_ids_of_this_program_are_removed(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "x.beft.safetensors").write_bytes(b"precious")
    for function in (forget, find_kept):
        with pytest.raises(UserError, match="got the kept snapshot"):
            function(wrong, tmp_path)
    assert (tmp_path / "x.beft.safetensors").exists()


def test_what_is_no_kept_snapshot_is_not_listed_and_lost_names_lose_nothing(tmp_path: Path) -> None:
    one = keep(example(), "one", tmp_path)
    for name in ("other.beft.safetensors", "x.json", ".hidden", f"{one.id}.txt"):
        (tmp_path / "uploads" / name).write_text("{")
    (tmp_path / "uploads" / f"{one.id}.json").unlink()
    (found,) = kept(tmp_path)
    assert found.id == one.id and found.name == "without a name"
    (tmp_path / "uploads" / f"{one.id}.json").write_text('{"name": 3}')
    assert kept(tmp_path)[0].name == "without a name"


def test_there_is_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEPT", 2)
    keep(example(), "a", tmp_path)
    keep(example(), "b", tmp_path)
    with pytest.raises(UserError, match="2 snapshots are kept; expected fewer"):
        keep(example(), "c", tmp_path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(UserError, match="cannot create"):
        keep(example(), "a", tmp_path / "home")


def test_a_full_disk_leaves_no_name_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.suffix == ".safetensors":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(NoRoom, match="the disk is full"):
            keep(example(), "mine", tmp_path)
    assert kept(tmp_path) == [] and not list((tmp_path / "uploads").iterdir())
