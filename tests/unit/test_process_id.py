"""A process is known by the boot and the ticks from there: no correction of the clock makes it another one."""

from __future__ import annotations

import os
from dataclasses import replace

import psutil
import pytest

from beft_core import process_id
from beft_core.process_id import ProcessId, boot_id, start_ticks

linux = pytest.mark.skipif(boot_id() is None, reason="the system has no boot id")


def me() -> ProcessId:
    return ProcessId.of(psutil.Process())


@linux
def test_ticks_are_those_of_the_start() -> None:
    """As psutil counts: its start time is that of the boot plus the ticks, on the clock of now."""
    own = me()
    assert own.ticks is not None
    assert own.started == pytest.approx(psutil.boot_time() + own.ticks / os.sysconf("SC_CLK_TCK"), abs=0.02)


@linux
@pytest.mark.parametrize("off", [-3600.0, -10.0, 10.0, 1e9])
def test_a_clock_that_was_corrected_changes_nothing(off: float) -> None:
    found = replace(me(), started=max(0.0, me().started + off)).find()
    assert found is not None and found.pid == me().pid


@linux
def test_another_boot_and_another_start_are_another_process() -> None:
    own = me()
    assert own.ticks is not None
    assert replace(own, boot="b" * 36).find() is None and replace(own, ticks=own.ticks + 1).find() is None


def test_files_of_earlier_versions_are_compared_by_the_start_time() -> None:
    old = replace(me(), boot=None, ticks=None)
    assert old.find() is not None and replace(old, started=old.started + 1).find() is not None
    assert replace(old, started=old.started + 10).find() is None


def test_without_a_boot_id_the_start_time_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    own = me()
    monkeypatch.setattr(process_id, "boot_id", lambda: None)
    monkeypatch.setattr(process_id, "start_ticks", lambda pid: None)
    assert own.find() is not None and replace(own, started=own.started + 10).find() is None
    assert ProcessId.of(psutil.Process()) == replace(own, boot=None, ticks=None)


@pytest.mark.parametrize("pid", [-1, 2**31 - 1, 2**80])
def test_numbers_of_no_process(pid: int) -> None:
    assert ProcessId(pid, 1.0).find() is None and start_ticks(pid) is None
