"""A run is a folder: configuration, state, measurements, log, checkpoint and snapshot, each in a file of its own.

Whoever looks at a run (page, command line, another run in the queue) only reads these files, so closing a tab,
restarting the dashboard or killing a terminal changes nothing. Exactly one process, the worker, writes the status.
What it can no longer write, namely that it is gone, readers derive: see :meth:`Run.status`.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from beft_core.errors import UserError
from beft_core.paths import user_path
from beft_core.runs.failure import smaller
from beft_core.safe_io import atomic_write, parse_json, read_json_file
from beft_core.snapshot import SUFFIX

KINDS: dict[str, str] = {
    "select": "fine-tune all biases, score every term, select one",
    "train": "one fine-tune",
    "merge": "score a merge of several fine-tunes on all their tasks",
    "sweep": "a grid of fine-tunes, many in one pass, into one table",
}
"""What a run does."""
FINE_TUNES: tuple[str, ...] = ("select", "train")
"""Kinds whose configuration is a RunConfig; that of a merge is a :class:`beft_core.merge_plan.MergeConfig`, that of a
sweep a :class:`beft_core.sweeps.spec.SweepSpec`. A sweep has no snapshot of its own, but a folder full of them."""

ACTIVE: tuple[str, ...] = ("queued", "running", "cancelling")
FINAL: tuple[str, ...] = ("done", "cancelled", "failed", "lost")
STATES: tuple[str, ...] = ACTIVE + FINAL
"""``lost`` is never written: it is what readers see of a run whose process vanished."""

START_SECONDS = 60.0
"""A worker that has not reported itself after so long will not come any more."""
CLOCK_SECONDS = 2.0
"""Start times are compared up to this: they are counted from boot, and the clock is being corrected meanwhile."""
READ_BYTES = 4 * 2**20
"""Most bytes of ``metrics.jsonl`` that one read returns; the rest comes with the next."""

_ID = re.compile(r"\d{8}-\d{6}-\d{6}-[0-9a-f]{6}")
_CRASH = "Fatal Python error: "
"""How the interpreter's last word on a signal begins."""
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def home() -> Path:
    """Folder of everything that the lab keeps: ``BEFT_HOME``, else the platform's user data folder."""
    named = os.environ.get("BEFT_HOME")
    if named:
        return user_path(named, "BEFT_HOME")
    import platformdirs

    return Path(platformdirs.user_data_dir("beft-lab", appauthor=False))


@dataclass(frozen=True)
class ProcessId:
    """A process, not just a number that the system will give to another one."""

    pid: int
    started: float
    """Start time in Unix seconds."""

    @classmethod
    def of(cls, process: psutil.Process) -> ProcessId:
        return cls(process.pid, process.create_time())

    def find(self) -> psutil.Process | None:
        """The process, if it still runs; a zombie does not."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < CLOCK_SECONDS
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


@dataclass(frozen=True)
class Status:
    """What ``status.json`` says. Times are Unix seconds."""

    state: str
    created: float
    began: float | None = None
    """When it left the queue."""
    ended: float | None = None
    process: ProcessId | None = None
    """The worker."""
    device: str | None = None
    """Name of the queue it stands in."""
    position: int | None = None
    """Runs before it in the queue."""
    stage: str | None = None
    """What it is doing."""
    stage_began: float | None = None
    done: int = 0
    """Units of the stage that are done."""
    total: int | None = None
    """Units of the stage, where known."""
    message: str | None = None
    """Why it ended, for a human."""
    proposal: str | None = None
    """What to try then."""

    @property
    def active(self) -> bool:
        """Whether its worker is at work or will be."""
        return self.state in ACTIVE

    @property
    def fraction(self) -> float | None:
        """Share of the stage that is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else None

    def remaining_seconds(self, now: float) -> float | None:
        """Until the end of the stage, at its mean speed so far; None before a fiftieth of it is done."""
        if self.stage_began is None or not self.total or self.done * 50 < self.total:
            return None
        return max(0.0, (now - self.stage_began) * (self.total - self.done) / self.done)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> Status:
        """Raises UserError for anything that :meth:`to_json` would not write."""
        table = parse_json(text, "status.json")
        try:
            if table.get("process") is not None:
                table["process"] = ProcessId(int(table["process"]["pid"]), float(table["process"]["started"]))
            status = cls(**table)
            numbers = (status.created, status.done, status.began or 0, status.ended or 0, status.stage_began or 0)
            if status.state not in STATES or not all(isinstance(n, int | float) for n in numbers):
                raise ValueError(f"state {status.state!r}")
        except (TypeError, ValueError, KeyError) as error:
            raise UserError(f"status.json: {error}", f"a state out of {', '.join(STATES)} and its times") from None
        return status


@dataclass(frozen=True, order=True)
class Run:
    """One run folder. Sorted by age, because its name begins with the time of its creation."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def snapshot(self) -> Path:
        return self.path / f"snapshot{SUFFIX}"

    @property
    def sweep(self) -> Path:
        """Folder of a "sweep" run, see :mod:`beft_core.sweeps.store`."""
        return self.path / "sweep"

    @property
    def result(self) -> Path:
        """``result.json``: of a "select" run the selected term of each approach and the scores, of a "merge" run a
        :class:`beft_core.merge_plan.MergeResult`, of a "sweep" run how many fine-tunes it did."""
        return self.path / "result.json"

    @classmethod
    def create(cls, kind: str, config: dict[str, Any], root: Path | None = None) -> Run:
        """A new queued run. Its name is made here and contains nothing that a user typed.

        Raises:
            UserError: unknown kind, or the folder cannot be written.
        """
        if kind not in KINDS:
            raise UserError(f"got a run of kind {kind!r}", f"one of {', '.join(KINDS)}")
        name = f"{datetime.now():%Y%m%d-%H%M%S-%f}-{secrets.token_hex(3)}"
        run = cls((root or home()) / "runs" / name)
        try:
            run.path.mkdir(parents=True)
        except OSError as error:
            raise UserError(
                f"cannot create {run.path}: {error.strerror}", "a folder to write to", "BEFT_HOME"
            ) from None
        atomic_write(run.path / "config.json", [json.dumps({"kind": kind, "config": config}, indent=1).encode()])
        run.write_status(Status("queued", created=time.time()))
        return run

    def config(self) -> tuple[str, dict[str, Any]]:
        """(kind, the fields of its configuration).

        Raises:
            UserError: ``config.json`` is missing or damaged.
        """
        table = read_json_file(self.path / "config.json")
        kind, config = table.get("kind"), table.get("config")
        if kind not in KINDS or not isinstance(config, dict):
            raise UserError(f"{self.id}/config.json: kind {str(kind)[:40]!r}", f"a kind out of {', '.join(KINDS)}")
        return str(kind), config

    # -- state -----------------------------------------------------------------------------------------------------

    def write_status(self, status: Status) -> None:
        """Replace ``status.json``. Only for the worker, and for whoever creates the run."""
        atomic_write(self.path / "status.json", [status.to_json().encode()])

    def recorded(self) -> Status:
        """The status as last written. A folder without a readable one is a failed run, not an error."""
        try:
            return Status.from_json((self.path / "status.json").read_bytes())
        except (OSError, UserError) as error:
            return Status(
                "failed", created=self._age_by_name(), message=f"The run's folder is damaged: {error}",
                proposal="Start it again; the folder may be deleted.",
            )  # fmt: skip

    def status(self) -> Status:
        """The status as it is: ``lost`` and ``cancelled`` if the process is gone, ``cancelling`` if that was asked."""
        status = self.recorded()
        if not status.active:
            return status
        if self._process_expected(status):
            return replace(status, state="cancelling") if self.cancel_asked() is not None else status
        status = self.recorded()  # it may have ended between the two looks
        if not status.active:
            return status
        if self.cancel_asked() is not None:
            return replace(status, state="cancelled", message="Cancelled; the worker had to be stopped by force.")
        return replace(status, state="lost", message=self._lost(status), proposal=self._after_lost())

    def _process_expected(self, status: Status) -> bool:
        if status.process is None:
            return time.time() - status.created < START_SECONDS
        return status.process.find() is not None

    def _lost(self, status: Status) -> str:
        where = f" during “{status.stage}”" if status.stage else ""
        where += f" ({status.done} of {status.total})" if status.stage and status.total else ""
        who = f"process {status.process.pid}" if status.process else "process"
        crash = next((line for line in self.log_tail(60) if line.startswith(_CRASH)), None)
        if crash is not None:
            return f"The worker ({who}) crashed{where}: {crash.removeprefix(_CRASH)}."
        return (
            f"The worker ({who}) vanished{where} without a word: it was killed, crashed, or the machine was restarted."
        )

    def _after_lost(self) -> str:
        try:
            kind, config = self.config()
            if kind == "sweep":  # all its runs share these
                config = config.get("settings") or {}
        except UserError:
            config = {}
        again = " The run can be resumed from its checkpoint." if self.checkpoint.is_file() else ""
        return f"If the machine ran out of memory: {smaller(config)}{again}"

    def _age_by_name(self) -> float:
        return datetime.strptime(self.id[:22], "%Y%m%d-%H%M%S-%f").timestamp() if _ID.fullmatch(self.id) else 0.0

    # -- cancelling ------------------------------------------------------------------------------------------------

    def ask_cancel(self) -> None:
        """Leave the request for the worker; asking again changes nothing. See also :mod:`beft_core.runs.cancel`."""
        if self.status().active:
            with (self.path / "cancel").open("a"):
                pass

    def cancel_asked(self) -> float | None:
        """When cancelling was first asked for (Unix seconds), if it was."""
        try:
            return (self.path / "cancel").stat().st_mtime
        except OSError:
            return None

    # -- measurements and log --------------------------------------------------------------------------------------

    def read_metrics(self, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Records from a byte offset on, and the offset to go on from.

        A last line that is still being written waits for the next call; lines that a crash left half-written are
        skipped. A file that has become shorter is read from its start.
        """
        try:
            with self.metrics.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                offset = offset if 0 <= offset <= size else 0
                file.seek(offset)
                block = file.read(READ_BYTES)
        except FileNotFoundError:
            return [], 0
        complete = block[: block.rfind(b"\n") + 1]
        if not complete and len(block) == READ_BYTES:
            complete = block  # no record of ours is that long: skip it
        records = []
        for line in complete.splitlines():
            try:
                records.append(parse_json(line, "metrics.jsonl"))
            except UserError:
                continue
        return records, offset + len(complete)

    def log_tail(self, lines: int = 12) -> list[str]:
        """The last lines of the log, without terminal colours and overwritten progress bars."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 2**16))
                text = file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return []
        kept = [_ANSI.sub("", line.rsplit("\r", 1)[-1]).rstrip() for line in text.split("\n")]
        return [line for line in kept if line][-lines:]


def list_runs(root: Path | None = None) -> list[Run]:
    """All runs, newest first. Whatever else lies in the folder is not a run."""
    return runs_in((root or home()) / "runs")


def runs_in(folder: Path) -> list[Run]:
    """The run folders in a folder, newest first."""
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return []
    return sorted(
        (Run(Path(e.path)) for e in entries if _ID.fullmatch(e.name) and e.is_dir(follow_symlinks=False)),
        reverse=True,
    )


def find_run(run_id: str, root: Path | None = None) -> Run:
    """The run of that name.

    Raises:
        UserError: not the name of a run, or no such run.
    """
    return find_in((root or home()) / "runs", run_id)


def find_in(folder: Path, run_id: str) -> Run:
    """The run of that name in a folder. Raises UserError as :func:`find_run`."""
    run = Run(folder / run_id) if _ID.fullmatch(run_id) else None
    if run is None or not run.path.is_dir():
        raise UserError(f"got the run {run_id!r}", "the name of a run in the home folder", "another one of the list")
    return run
