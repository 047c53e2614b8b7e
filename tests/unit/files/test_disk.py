"""A disk without room: the line that says so, and the wait for room. Played by RLIMIT_FSIZE and by failing calls."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from beft_core.errors import UserError
from beft_core.files import disk
from beft_core.files.disk import NoRoom, size, with_room
from beft_core.files.safe_io import atomic_write


def no_room(path: Path, number: int = errno.ENOSPC) -> NoRoom:
    return NoRoom(path, 1_234_567, number)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (12_345_678, "12.3 MB"),
        (3 * 10**12, "3000.0 GB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_the_line_says_where_how_much_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 350)
    line = str(no_room(tmp_path / "x"))
    assert line == (
        f"cannot write {tmp_path}/x: the disk is full (350 bytes free); expected room for 1.2 MB; "
        f"try deleting what is no longer needed on the disk of {tmp_path}, then the same again"
    )
    assert "quota" in str(no_room(tmp_path / "x", errno.EDQUOT))
    assert "ulimit -f" in str(no_room(tmp_path / "x", errno.EFBIG))
    assert str(pickle.loads(pickle.dumps(no_room(tmp_path / "x")))) == line


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    path = tmp_path / "x"
    atomic_write(path, [b"old"])

    def full(*_: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, full)
    monkeypatch.setattr(Path, "replace", full if call == "replace" else Path.replace)
    with pytest.raises(NoRoom, match=r"room for 2\.0 kB"):
        atomic_write(path, [b"a" * 1500, memoryview(b"b" * 500)])
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_the_size_that_is_needed_counts_what_was_not_reached(tmp_path: Path, small_files: None) -> None:
    with pytest.raises(NoRoom, match=r"ulimit -f.*expected room for 12\.0 MB"):
        atomic_write(tmp_path / "x", [b"a" * 3_000_000] * 4)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_files() -> Any:
    """No file of this process may become larger than 2 MB."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Clock:
    """A clock that only sleeping moves on: a module of time that :mod:`beft_core.files.disk` alone sees, since
    threads that earlier tests left sleep too.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(disk, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep))

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def failing(tmp_path: Path, times: int, number: int = errno.ENOSPC) -> Any:
    """A write that fails so often, then returns how often it was called."""
    calls = []

    def write() -> int:
        calls.append(1)
        if len(calls) <= times:
            raise no_room(tmp_path / "x", number)
        return len(calls)

    return write


def test_a_write_waits_for_room_and_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, told = Clock(monkeypatch), list[str]()
    assert with_room(failing(tmp_path, 7), told.append, seconds=60) == 8
    assert len(told) == 1 and "the disk is full" in told[0] and told[0].endswith("waiting up to 60 seconds for room")
    assert clock.now == 100 + 7 * disk.RETRY_SECONDS


def test_a_wait_ends_in_time_when_asked_to_and_where_it_cannot_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, told = Clock(monkeypatch), list[str]()
    with pytest.raises(NoRoom):
        with_room(failing(tmp_path, 10**6), told.append, seconds=60)
    assert 160 <= clock.now <= 160 + disk.RETRY_SECONDS and len(told) == 1
    for arguments in ({"give_up": lambda: True, "seconds": 60}, {"seconds": 0}):
        clock.now = 0.0
        with pytest.raises(NoRoom):
            with_room(failing(tmp_path, 1), told.append, **arguments)  # type: ignore[arg-type]
        assert clock.now == 0
    with pytest.raises(NoRoom):
        with_room(failing(tmp_path, 1, errno.EFBIG), told.append, seconds=60)
    assert clock.now == 0

    def wrong() -> None:
        raise UserError("got something else")

    with pytest.raises(UserError, match="something else"):
        with_room(wrong, told.append, seconds=60)


@pytest.mark.parametrize(("given", "seconds"), [("4", 4.0), ("0", 0.0), ("", disk.WAIT_SECONDS)])
def test_the_wait_is_set_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, seconds: float
) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setenv("BEFT_WAIT_FOR_ROOM", given)
    with pytest.raises(NoRoom):
        with_room(failing(tmp_path, 10**6), lambda line: None)
    assert seconds <= clock.now - 100 <= seconds + disk.RETRY_SECONDS
