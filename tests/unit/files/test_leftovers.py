"""Temporary files of killed writers are removed, those of living ones never."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from beft_core.files import leftovers
from beft_core.files.leftovers import remove_leftovers, temporary
from beft_core.files.safe_io import atomic_write, read_json_file

WRITER = """
import sys, time
from pathlib import Path
from beft_core.files.safe_io import atomic_write

def chunks():
    yield b"{"
    yield b" " * 100_000  # more than the buffer, so that the file has bytes
    print("writing", flush=True)
    sys.stdin.readline()
    yield b"}"

atomic_write(Path(sys.argv[1]), chunks())
"""


def writer(path: Path) -> subprocess.Popen[str]:
    """A process in the middle of writing a file; a line on its stdin lets it go on."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    return process


def test_of_a_dead_and_a_living_writer_only_the_dead_ones_file_goes(tmp_path: Path) -> None:
    dead, living = writer(tmp_path / "dead.json"), writer(tmp_path / "living.json")
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    (left,) = tmp_path.glob(".dead.json.*.tmp")
    assert remove_leftovers(tmp_path) == [left.name]
    assert len(list(tmp_path.glob(".living.json.*.tmp"))) == 1
    _, errors = living.communicate("go on\n", timeout=20)
    assert living.returncode == 0, errors
    assert read_json_file(tmp_path / "living.json") == {} and [p.name for p in tmp_path.iterdir()] == ["living.json"]


def test_the_first_write_into_a_folder_removes_them(tmp_path: Path) -> None:
    left = temporary(tmp_path / "x")
    left.write_bytes(b"half")
    atomic_write(tmp_path / "y", [b"y"])
    assert [path.name for path in tmp_path.iterdir()] == ["y"]
    left.write_bytes(b"half")
    atomic_write(tmp_path / "z", [b"z"])  # once per process: a folder may be large
    assert left.exists()


def test_a_process_that_was_forked_looks_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child inherits what its parent has looked through, long ago maybe."""
    atomic_write(tmp_path / "x", [b"x"])
    left = temporary(tmp_path / "y")
    left.write_bytes(b"half")
    child = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: child)
    atomic_write(tmp_path / "z", [b"z"])
    assert not left.exists()


def test_names_of_others_links_and_files_that_have_only_just_begun_stay(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    others = [".x.12.tmp", "x.12.abcdef01.tmp", ".x.12.abcdef01.part", ".x.12.ABCDEF01.tmp", ".12.abcdef01.tmp"]
    for name in others:
        (tmp_path / name).write_bytes(b"mine")
    link, folder, begun, empty = (temporary(tmp_path / name) for name in ("link", "folder", "begun", "empty"))
    link.symlink_to(target)
    folder.mkdir()
    os.mkfifo(temporary(tmp_path / "pipe"))
    begun.touch()
    empty.touch()
    long_ago = time.time() - leftovers.EMPTY_SECONDS - 5
    os.utime(empty, (long_ago, long_ago))
    assert remove_leftovers(tmp_path) == [empty.name]
    assert target.read_bytes() == b"precious" and begun.exists() and folder.is_dir() and link.is_symlink()
    assert all((tmp_path / name).exists() for name in others)


@pytest.mark.parametrize("machine", ["0123abcd-", ""])
def test_a_file_of_another_machine_whose_locks_are_not_seen_here_stays_until_it_is_old(
    machine: str, tmp_path: Path
) -> None:
    """``""``: the name that an earlier version gave, of any machine."""
    theirs = tmp_path / f".x.{machine}12.abcdef01.tmp"
    theirs.write_bytes(b"half")
    assert remove_leftovers(tmp_path) == [] and theirs.exists()
    long_ago = time.time() - leftovers.FOREIGN_SECONDS - 5
    os.utime(theirs, (long_ago, long_ago))
    assert remove_leftovers(tmp_path) == [theirs.name]


def test_a_folder_that_cannot_be_looked_through_is_no_error(tmp_path: Path) -> None:
    assert remove_leftovers(tmp_path / "missing") == []
    (tmp_path / "file").write_bytes(b"")
    assert remove_leftovers(tmp_path / "file") == []


def test_where_files_have_no_locks_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = temporary(tmp_path / "x")
    left.write_bytes(b"half")

    def none(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(leftovers.fcntl, "flock", none)
    assert remove_leftovers(tmp_path) == [] and left.exists()
    atomic_write(tmp_path / "y", [b"y"])
    assert (tmp_path / "y").read_bytes() == b"y"
