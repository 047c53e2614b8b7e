"""Strict JSON, and files that are complete or not there."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

import pytest

from beft_core.errors import UserError
from beft_core.files import safe_io
from beft_core.files.safe_io import atomic_write, parse_json, read_bounded, read_json_file


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "a": 2}', "key 'a' stands twice"),
        ('{"a": {"b": 1, "b": 1}}', "key 'b' stands twice"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": -Infinity}', "-Infinity is not JSON"),
        ("[1]", "a JSON list; expected a JSON object"),
        ("", "not valid JSON"),
        (b'{"a": "\xff"}', "not valid JSON"),
        ('{"a": ' + "[" * 10**5, "nested too deep"),
        ('{"a": ' + "1" * 5000 + "}", "not valid JSON"),
    ],
)
def test_what_is_not_plain_json_is_refused(text: str | bytes, reason: str) -> None:
    with pytest.raises(UserError, match=f"header.*{reason}"):
        parse_json(text, "header")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    atomic_write(path, [b'{"a"', b": [1, null]}"])
    assert read_json_file(path) == {"a": [1, None]}
    with pytest.raises(UserError, match="16 bytes; expected at most 10"):
        read_json_file(path, limit=10)
    for broken in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match="cannot read"):
            read_json_file(broken)


def test_a_write_that_fails_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    atomic_write(path, [b"old"])

    def chunks():  # type: ignore[no-untyped-def]
        yield b"new"
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        atomic_write(path, chunks())
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_the_folder_is_on_the_disk_after_the_renaming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a power cut may undo: first the bytes, then the name, then the folder that holds the name."""
    order: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def replaced(self: Path, target: Path) -> Path:
        order.append("name")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    atomic_write(tmp_path / "x", [b"x"])
    assert order == ["file", "name", "folder"]


@pytest.mark.parametrize(("number", "fails"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_file_system_that_cannot_do_that_for_folders_is_no_failure_but_a_broken_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, fails: bool
) -> None:
    sync = os.fsync

    def synced(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    with pytest.raises(UserError, match="Input/output error") if fails else nullcontext():
        atomic_write(tmp_path / "x", [b"x"])
    assert (tmp_path / "x").read_bytes() == b"x"


@pytest.mark.parametrize("what", ["a pipe", "a device without end", "a folder", "a 3 GB file without content"])
def test_only_regular_files_of_a_bounded_size_are_read(what: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    if what == "a pipe":
        os.mkfifo(path)  # opened carelessly, it waits for ever
    elif what == "a folder":
        path.mkdir()
    elif what == "a device without end":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as file:
            file.truncate(3 * 2**30)
    with pytest.raises(UserError, match=r"a pipe|a device|a folder|at most 1000"):
        read_bounded(path, 1000)
    with pytest.raises(UserError):
        read_json_file(path)


def test_a_file_of_exactly_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert read_bounded(tmp_path / "x", 5) == b"12345"
    with pytest.raises(UserError, match="5 bytes; expected at most 4"):
        read_bounded(tmp_path / "x", 4)


def test_a_file_that_grows_after_it_was_measured_is_no_larger_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    measure = os.fstat

    def measured(descriptor: int) -> os.stat_result:
        found = measure(descriptor)
        with path.open("ab") as file:
            file.write(b"67890")
        return found

    opened = safe_io.open_plain

    def open_first(*arguments: Any, **more: Any) -> IO[bytes]:
        file = opened(*arguments, **more)
        monkeypatch.setattr(os, "fstat", measured)
        return file

    monkeypatch.setattr(safe_io, "open_plain", open_first)
    with pytest.raises(UserError, match="expected at most 5"):
        read_bounded(path, 5)
