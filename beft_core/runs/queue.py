"""First in, first out per device: one run at a time uses a device, in the order in which runs were launched.

Order and exclusion are two things. *Order*: a ticket is an empty file named after the run, and names of runs sort by
time of creation; a ticket counts as long as its run is active, so a crashed run leaves the queue by itself.
*Exclusion*: whoever is first takes a file lock, which the operating system frees when its holder dies.
"""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from beft_core.errors import UserError
from beft_core.runs.directory import Run, find_run

POLL_SECONDS = 0.3


class Queue:
    """The queue of one device."""

    def __init__(self, device: str, root: Path) -> None:
        """`device`: as in RunConfig; `root`: the home folder that holds ``runs``."""
        self.root = root
        self.name = queue_name(device)
        self._tickets = root / "queue" / self.name
        self._lock = FileLock(root / "queue" / f"{self.name}.lock")

    def join(self, run: Run) -> None:
        """Take a place; again is allowed. Whoever launches runs does it, so that their order is that of launching."""
        self._tickets.mkdir(parents=True, exist_ok=True)
        (self._tickets / run.id).touch()

    def leave(self, run: Run) -> None:
        """Give the place back."""
        (self._tickets / run.id).unlink(missing_ok=True)

    def waiting(self) -> list[str]:
        """Ids of the active runs in order, the one at work included; tickets of ended runs are thrown away."""
        ids = []
        for ticket in sorted(self._tickets.glob("*")):
            try:
                active = find_run(ticket.name, self.root).status().active
            except UserError:  # its folder was deleted
                active = False
            if active:
                ids.append(ticket.name)
            else:
                ticket.unlink(missing_ok=True)
        return ids

    @contextmanager
    def turn(self, run: Run, should_stop: Callable[[], bool], on_position: Callable[[int], None]) -> Iterator[bool]:
        """Wait for the device and hold it inside the block.

        Yields whether it is the run's turn; False: `should_stop` said so first. `on_position` hears the number of
        runs ahead whenever it changes.
        """
        self.join(run)
        try:
            known: int | None = None
            while not should_stop():
                order = self.waiting()
                ahead = order.index(run.id) if run.id in order else 0
                if ahead == 0 and self._take():
                    break
                # First without the lock: an older run that came late is still at work.
                ahead = max(ahead, 1)
                if ahead != known:
                    on_position(ahead)
                    known = ahead
                time.sleep(POLL_SECONDS)
            try:
                yield self._lock.is_locked
            finally:
                self._lock.release()
        finally:
            self.leave(run)

    def _take(self) -> bool:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        return True


def device_of(kind: str, fields: Mapping[str, Any]) -> str:
    """The device that the configuration of a run asks for; a sweep has it among the settings of its runs."""
    settings = fields.get("settings") if kind == "sweep" else fields
    return str(settings.get("device", "auto")) if isinstance(settings, Mapping) else "auto"


def queue_name(device: str) -> str:
    """Device name -> name of its queue.

    ``auto`` is guessed without importing torch, so that a waiting run costs no memory. A wrong guess only means that
    two runs may share a device.
    """
    if device != "auto":
        return device
    if shutil.which("nvidia-smi"):
        return "cuda"
    return "mps" if (platform.system(), platform.machine()) == ("Darwin", "arm64") else "cpu"
