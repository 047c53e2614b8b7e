"""Queues, one per device: one run at a time uses a device, in the order in which runs were launched.

Order and exclusion are two things. *Order*: a ticket is a file named after the run, in which stands its number; numbers
are given out one at a time, so that no clock has a say. A ticket of an earlier version has none and comes first, by the
run's name, which begins with the time of its creation. A ticket counts as long as its run is active, so a crashed run
leaves the queue by itself.
*Exclusion*: whoever is first takes a file lock, which the operating system frees when its holder dies.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from beft_core.devices import queue_name
from beft_core.errors import UserError
from beft_core.files.locks import hold
from beft_core.files.safe_io import atomic_write, read_bounded
from beft_core.process_id import boot_id, host_name
from beft_core.runs.run import Run, find_run

POLL_SECONDS = 0.3
JOIN_SECONDS = 10.0
"""Seconds to wait for somebody else who is just taking a place."""
_TICKET_BYTES = 15
_DEVICE = re.compile(r"[a-z0-9][a-z0-9:._-]{0,63}")
"""Pattern of a device's name, which becomes the name of a folder."""


_MACHINE = re.sub(r"[^A-Za-z0-9-]", "-", boot_id() or host_name())[:64]
"""Identifier of this machine, with all its containers, until it is started anew."""


class Queue:
    """Queue of the runs that wait for one device."""

    def __init__(self, device: str, root: Path) -> None:
        """`device`: as in RunConfig; `root`: the home folder that holds ``runs``.

        Raises:
            UserError: no device has such a name.
        """
        self.root = root
        self.name = queue_name(device)
        if not _DEVICE.fullmatch(self.name):
            raise UserError(f"got the device {device[:40]!r}", "the name of a device", "auto, cpu or cuda")
        self._tickets = root / "queue" / self.name
        self.lock_file = root / "queue" / f"{self.name}.{_MACHINE}.lock"
        """Lock file of the device on this machine: another one that shares the home folder has devices of its own."""
        self._lock = FileLock(self.lock_file)

    def join(self, run: Run) -> None:
        """Take a place for a run, at once when it is launched, so that runs come in that order; repeating it changes
        nothing.

        Raises:
            UserError: the home folder cannot be written.
        """
        try:
            self._tickets.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot create {self._tickets}: {error.strerror}", "a folder to write to") from None
        with hold(self._tickets, f"the queue of {self.name}", wait_seconds=JOIN_SECONDS):
            ticket = self._tickets / run.id
            if not ticket.exists():
                last = max((_number(ticket) for ticket in self._tickets.iterdir()), default=0)
                atomic_write(ticket, [str(last + 1).encode()])

    def leave(self, run: Run) -> None:
        """Give a run's place in the queue back."""
        with suppress(FileNotFoundError):
            (self._tickets / run.id).unlink()

    def waiting(self) -> list[str]:
        """Ids of this machine's active runs in order, the one at work included; tickets of ended runs are thrown away.

        Runs of another machine that shares the home folder wait for devices of their own.
        """
        ids = []
        for ticket in sorted(self._tickets.glob("[!.]*"), key=lambda ticket: (_number(ticket), ticket.name)):
            try:
                status = find_run(ticket.name, self.root).status()
                active = status.active
            except UserError:  # its folder was deleted
                active = False
            if active:
                ids += [ticket.name] if status.elsewhere is None else []
            else:
                with suppress(OSError):  # a folder, say
                    ticket.unlink()
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
                if run.id not in order:  # somebody took the run for ended
                    self.join(run)
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


def _number(ticket: Path) -> int:
    """Read the number in a ticket; 0 in one of an earlier version or that cannot be read."""
    try:
        text = read_bounded(ticket, _TICKET_BYTES, follow=False)
        return int(text) if text.isdigit() else 0
    except UserError:
        return 0
