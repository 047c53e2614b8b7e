"""Workers that share a sweep: who they are, and the signs of life by which one is told from one that is gone.

A worker writes ``workers/<id>.json`` every few seconds: what it does, how far it is, and since when. Whoever says there
that it has left is gone, even if its process goes on. Whether any other is alive is never asked of a process id of
another machine: on the same machine the process is looked for, from elsewhere only the file counts.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import psutil

from beft_core.environment import CLAIM_BEATS, beat_seconds, number
from beft_core.errors import UserError
from beft_core.files.json_shape import Maybe, Number, OneOf, Table, Text, check
from beft_core.files.safe_io import atomic_write, parse_json, read_bounded
from beft_core.process_id import ProcessId, boot_id, host_name

CLAIM_SECONDS = 120.0
"""Seconds without a sign of life after which a worker of another machine is taken for gone, unless
``BEFT_CLAIM_SECONDS`` says otherwise. Longer than NFS shows old attributes of a file, which is a minute; never less
than :data:`beft_core.environment.CLAIM_BEATS` signs of life.
"""
SEEN_BEATS = 2.5
"""Beats that a worker is watched for at least before it is taken for gone: a clock that was set must not end it."""
WORKER_BYTES = 2**14
"""Most bytes of a worker's file, or of a claim, that are read."""
DOING_CHARACTERS = 400
"""Most characters of what a worker says that it does: a pass may hold many kinds of fine-tunes."""
LEFT: tuple[str, ...] = ("stopped", "ended")
"""States of a worker that has left: before and after all was done."""
STATES: tuple[str, ...] = ("working", "waiting", *LEFT)
"""States of a worker."""

_TIME = Number(0, 8e9)
_COUNT = Number(0, 2**53, whole=True)
IDENTITY = Table(
    {
        "id": Text(200),
        "host": Text(255),
        "process": Table(
            {"pid": Number(1, 2**31 - 1, whole=True), "started": _TIME},
            {"boot": Maybe(Text(64)), "ticks": Maybe(_COUNT)},
        ),
        "namespace": Maybe(Text(64)),
    }
)
"""Schema of an :class:`Identity`."""
WORKER = Table(
    {"identity": IDENTITY, "began": _TIME},
    {
        "time": _TIME,
        "state": OneOf(STATES),
        "device": Maybe(Text()),
        "job": Maybe(Text()),
        "bank": Maybe(Text(64)),
        "doing": Text(DOING_CHARACTERS),
        "done": _COUNT,
        "trained": _COUNT,
        "banks": _COUNT,
        "busy": Number(0),
        "waited": Number(0),
        "peak_bytes": _COUNT,
    },
)
"""Schema of a worker's file."""


def claim_seconds() -> float:
    """Seconds of silence after which a worker of another machine is taken for gone."""
    return number("BEFT_CLAIM_SECONDS", max(CLAIM_SECONDS, CLAIM_BEATS * beat_seconds()))


@dataclass(frozen=True)
class Identity:
    """Process that works on a sweep, known on every machine that shares the folder."""

    id: str
    """Name of the worker, and of its file."""
    host: str
    process: ProcessId
    namespace: str | None
    """Name space of process ids, which containers have of their own; None where the system has none."""

    @classmethod
    def of_this_process(cls) -> Identity:
        """Make a new identity for the calling process."""
        host = host_name()
        name = f"{re.sub(r'[^A-Za-z0-9-]', '-', host)[:60]}-{os.getpid()}-{secrets.token_hex(4)}"
        return cls(name, host, ProcessId.of(psutil.Process()), namespace())

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> Identity:
        """Read what ``asdict`` wrote. Raises UserError for anything else."""
        check(table, IDENTITY, "a worker")
        return cls(table["id"], table["host"], ProcessId(**table["process"]), table["namespace"])

    def is_gone(self) -> bool | None:
        """Say whether the process has ended; None where it cannot be seen from here.

        It can on the same machine since the same boot, and in the same container.
        """
        here = (host_name() if boot_id() is None else boot_id(), namespace())
        there = (self.host if self.process.boot is None else self.process.boot, self.namespace)
        return self.process.find() is None if here == there else None


def namespace() -> str | None:
    """Name the name space of this process's ids; None where the system does not tell."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


@dataclass(frozen=True)
class Worker:
    """Content of a worker's file: its last sign of life. Times are Unix seconds, by its own clock."""

    identity: Identity
    began: float
    time: float = 0.0
    state: str = "working"
    device: str | None = None
    """Device in words, such as ``cuda:1``; None: not told."""
    job: str | None = None
    """Id of the job at a scheduler that the worker runs in."""
    bank: str | None = None
    """Bank that it holds."""
    doing: str = ""
    """What it does, in words."""
    done: int = 0
    """Steps of single fine-tunes that are done of the bank that it holds."""
    trained: int = 0
    """Fine-tunes that it has finished."""
    banks: int = 0
    """Banks that it has finished."""
    busy: float = 0.0
    """Seconds that it spent on banks."""
    waited: float = 0.0
    """Seconds in which all that was left was in the hands of others."""
    peak_bytes: int = 0
    """Most memory of a GPU that its tensors took at a time."""

    @classmethod
    def read(cls, path: Path) -> Worker:
        """Read a worker's file. Raises UserError where there is none, or it is damaged."""
        table = parse_json(read_bounded(path, WORKER_BYTES, "a worker's file", follow=False), "a worker's file")
        check(table, WORKER, "a worker's file")
        return cls(**{**table, "identity": Identity.from_dict(table["identity"])})


def workers_in(folder: Path) -> list[Worker]:
    """Read all workers that ever wrote into a folder, by the time when they began; damaged files are left out."""
    found = []
    with suppress(OSError):
        for path in folder.glob("[!.]*.json"):
            with suppress(UserError):
                found.append(Worker.read(path))
    return sorted(found, key=lambda worker: (worker.began, worker.identity.id))


@dataclass
class Heart:
    """Heartbeat of this process: a thread that writes its file as long as the block lasts, whatever else it does."""

    folder: Path
    """Folder of the workers' files, which must exist."""
    worker: Worker
    on_beat: list[Callable[[], None]] = field(default_factory=list)
    """Functions that are called before every beat, in the thread."""
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _ended: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of_this_process(cls, folder: Path, device: str | None = None, job: str | None = None) -> Heart:
        """Make a heart for the calling process. ``device``, ``job``: see :class:`Worker`."""
        return cls(folder, Worker(Identity.of_this_process(), time.time(), device=device, job=job))

    @property
    def path(self) -> Path:
        """File of this worker."""
        return self.folder / f"{self.worker.identity.id}.json"

    def tell(self, **changes: Any) -> None:
        """Change what the next beat will say; too many words of ``doing`` are cut, as a reader takes no more."""
        if "doing" in changes:
            changes["doing"] = changes["doing"][:DOING_CHARACTERS]
        with self._lock:
            self.worker = replace(self.worker, **changes)

    def beat(self) -> None:
        """Write the file now; a disk that is full, or a server without an answer, is tried again at the next beat."""
        with self._lock, suppress(UserError):
            self.worker = replace(self.worker, time=time.time())
            atomic_write(self.path, [json.dumps(asdict(self.worker)).encode()])

    def __enter__(self) -> Self:
        self.beat()
        threading.Thread(target=self._live, daemon=True, name="heartbeat").start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self.worker.state in ("working", "waiting"):
            self.tell(state="ended", bank=None, doing="")
        self.beat()

    def _live(self) -> None:
        pause = beat_seconds()
        while not self._ended.wait(pause):
            for look in self.on_beat:
                with suppress(OSError):  # a server that does not answer ends no heart
                    look()
            self.beat()


class Watch:
    """Watch over other workers, by when their files changed: as this process saw it, and as the file system dates it.

    No clock of another machine is asked. The file system's own clock is that of this worker's last beat.
    """

    def __init__(self, heart: Heart) -> None:
        self._heart = heart
        self._seen: dict[Path, tuple[int, float, int]] = {}
        """Of each file: its date, when this process saw it first, and how many changes it saw."""

    def is_gone(self, one: Identity) -> bool:
        """Say whether a worker is gone for good, as far as can be known from here."""
        if (ended := one.is_gone()) or self._has_left(one):
            return True
        return ended is None and self.is_silent(self._file(one))

    def is_seen_alive(self, one: Identity) -> bool:
        """Say whether a worker has given a sign of life while this process looked, or its process is here."""
        return one.is_gone() is False or self._seen.get(self._file(one), (0, 0.0, 0))[2] > 0

    def _has_left(self, one: Identity) -> bool:
        """Say whether a worker has said that it left; its process may go on, as a notebook's does after a sweep."""
        with suppress(UserError):
            return Worker.read(self._file(one)).state in LEFT
        return False

    def _file(self, one: Identity) -> Path:
        return self._heart.folder / f"{one.id}.json"

    def is_silent(self, file: Path) -> bool:
        """Say whether a file has not been written for so long that whoever wrote it is gone."""
        now = time.monotonic()
        date = _date(file) or 0
        before = self._seen.get(file)
        if before is None or before[0] != date:
            self._seen[file] = date, now, 0 if before is None else before[2] + 1
            return False
        watched = now - before[1]
        if watched > claim_seconds():
            return True
        old = ((_date(self._heart.path) or 0) - date) / 1e9 > claim_seconds()
        return old and watched > SEEN_BEATS * beat_seconds()


def _date(path: Path) -> int | None:
    """Time of a file's last change in nanoseconds; it is opened, since NFS then asks its server."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return None
    try:
        return os.fstat(descriptor).st_mtime_ns
    finally:
        os.close(descriptor)
