"""Identity of a process: more than its number, which the system gives to another process later.

On Linux a process is known by the boot of the machine and the clock ticks from there to its start, which no correction
of the clock changes. Elsewhere, and in files of earlier versions, it is known by its start time.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

CLOCK_SECONDS = 2.0
"""Seconds by which two start times of one process may differ: where they are counted from boot, correcting the clock
moves them.
"""


@dataclass(frozen=True)
class ProcessId:
    """Identity of a process of this machine, now or in the past."""

    pid: int
    started: float
    """Start time in Unix seconds."""
    boot: str | None = None
    """Id of the machine's boot; None where the system has none."""
    ticks: int | None = None
    """Clock ticks from boot to the start of the process; None as above."""

    @classmethod
    def of(cls, process: psutil.Process) -> ProcessId:
        """Identity of the process with a number. Raises psutil.NoSuchProcess if it has ended."""
        return cls(process.pid, process.create_time(), boot_id(), start_ticks(process.pid))

    def find(self) -> psutil.Process | None:
        """Process of this identity if it still runs, else None; a zombie does not run."""
        try:
            process = psutil.Process(self.pid)
            return process if self._is(process) and process.status() != psutil.STATUS_ZOMBIE else None
        except (psutil.NoSuchProcess, ValueError, OverflowError):  # the last two: no number of a process
            return None

    def _is(self, process: psutil.Process) -> bool:
        boot, ticks = boot_id(), start_ticks(self.pid)
        if None in (self.boot, self.ticks, boot, ticks):
            return abs(process.create_time() - self.started) < CLOCK_SECONDS
        return (self.boot, self.ticks) == (boot, ticks)


def host_name() -> str:
    """Name of this machine in its network."""
    return platform.node() or "this machine"


@cache
def boot_id() -> str | None:
    """Identifier of the time from one start of the machine to the next; None where the system does not."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def start_ticks(pid: int) -> int | None:
    """Start of a process in clock ticks since boot, field 22 of ``/proc/PID/stat``, see proc_pid_stat(5); None where
    there is none.
    """
    try:
        after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2]  # the name may hold anything
        return int(after_name.split()[19])
    except (OSError, ValueError, IndexError):
        return None
