"""One holder at a time, named to whoever comes second, and forgotten when it dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from beft_core.errors import UserError
from beft_core.files import locks
from beft_core.files.locks import hold, holder

_HOLD = """
import sys, time
from pathlib import Path
from beft_core.files.locks import hold
with hold(Path(sys.argv[1]), "the thing"):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def held_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_the_second_learns_who_and_since_when_and_a_dead_holder_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ck.safetensors"
    before = time.time()
    with held_elsewhere(path) as process:
        with (
            pytest.raises(UserError, match=rf"the thing is in use by process {process.pid}, since 20.*; try waiting"),
            hold(path, "the thing", "waiting"),
        ):
            raise AssertionError("held twice")
        found = holder(path)
        assert found is not None and before - 1 <= found.since <= time.time()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert (tmp_path / ".ck.safetensors.holder").is_file() and holder(path) is None
        with hold(path, "the thing", wait_seconds=5):
            assert holder(path).pid == os.getpid()  # type: ignore[union-attr]
    assert holder(path) is None


def test_two_threads_of_one_process_exclude_each_other_too(tmp_path: Path) -> None:
    with (
        hold(tmp_path / "a", "a"),
        hold(tmp_path / "b", "b"),
        pytest.raises(UserError, match=f"a is in use by process {os.getpid()}"),
        hold(tmp_path / "a", "a"),
    ):
        raise AssertionError("held twice")
    with hold(tmp_path / "a", "a"):
        pass


def test_whoever_may_wait_gets_it_when_it_is_free(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path / "a") as process:
        threading.Timer(0.3, process.kill).start()
        with hold(tmp_path / "a", "a", wait_seconds=30):
            assert holder(tmp_path / "a").pid == os.getpid()  # type: ignore[union-attr]


def test_who_only_looks_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locks.LOOK_SECONDS > 0
    monkeypatch.setattr(locks, "LOOK_SECONDS", 30.0)  # on a busy machine the timer comes late
    look = FileLock(tmp_path / ".a.lock", thread_local=False)  # as :func:`holder` takes it, for longer
    look.acquire()
    threading.Timer(0.05, look.release).start()
    with hold(tmp_path / "a", "a"):
        assert not look.is_locked


def test_no_name_is_left_that_the_next_holder_could_be_taken_for(tmp_path: Path) -> None:
    with hold(tmp_path / "a", "a"):
        assert (tmp_path / ".a.holder").is_file()
    assert not (tmp_path / ".a.holder").exists()


def test_an_error_inside_frees_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), hold(tmp_path / "a", "a"):
        raise ZeroDivisionError
    with hold(tmp_path / "a", "a"):
        pass


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"[]",
        b"{}",
        b'{"pid": "x", "since": 1, "host": ""}',
        b'{"pid": 1, "since": 1e308, "host": ""}',
        b'{"pid": 1, "since": null, "host": ""}',
        b"9" * 5000,
    ],
)
def test_a_damaged_note_of_the_holder_only_hides_his_name(
    tmp_path: Path, damage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "NOTE_SECONDS", 0.05)
    with hold(tmp_path / "a", "a"):
        (tmp_path / ".a.holder").write_bytes(damage)
        with pytest.raises(UserError, match="in use by another process"), hold(tmp_path / "a", "a"):
            raise AssertionError("held twice")


def test_another_machine_is_named(tmp_path: Path) -> None:
    with hold(tmp_path / "a", "a"):
        (tmp_path / ".a.holder").write_text(json.dumps({"pid": 7, "since": 1e9, "host": "node12"}))
        with pytest.raises(UserError, match="process 7 on node12, since 2001-09-0"), hold(tmp_path / "a", "a"):
            raise AssertionError("held twice")


def test_what_cannot_be_locked_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".a.lock").mkdir()
    for path in (tmp_path / "missing" / "a", tmp_path / "a"):
        with pytest.raises(UserError, match="cannot lock the thing in"), hold(path, "the thing"):
            raise AssertionError("held")
