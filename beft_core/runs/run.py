"""Run, a folder: configuration, state, measurements, log, checkpoint and snapshot, each in a file of its own.

Whoever looks at a run (page, command line, another run in the queue) only reads these files, so closing a tab,
restarting the dashboard or killing a terminal changes nothing. Exactly one process, the worker, writes the status.
What it can no longer write, namely that it is gone, readers derive: see :meth:`Run.status`.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.files.home import home
from beft_core.files.json_shape import check
from beft_core.files.plain_file import open_plain
from beft_core.files.safe_io import atomic_write, parse_json, read_bounded
from beft_core.imports import imported
from beft_core.presets import RECORD_VERSION
from beft_core.process_id import boot_id, host_name
from beft_core.runs.kinds import CHECKPOINT, KINDS, PREDICTIONS, SNAPSHOT, UNKNOWN, Kind
from beft_core.runs.kinds import RESULT as RESULT_FILE
from beft_core.runs.lost import how_it_ended, what_to_do
from beft_core.runs.reading import last_lines, read_records
from beft_core.runs.record import (
    CONFIG,
    CONFIG_BYTES,
    RESULT,
    RESULT_BYTES,
)
from beft_core.runs.status import EXECUTORS, STATUS_BYTES, Status

START_SECONDS = 60.0
"""Seconds after which a worker that has not reported itself will not come any more."""
BEAT_SECONDS = 30.0
"""Seconds between two signs of life of a worker."""
SILENCE_SECONDS = 600.0
"""Seconds without a sign of life after which a worker that cannot be asked for from here is taken for lost."""

_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9]{6}-[0-9a-f]{6}")


@dataclass(frozen=True, order=True)
class Run:
    """Folder of one run. Sorted by age, because its name begins with the time of its creation."""

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
        return self.path / CHECKPOINT

    @property
    def snapshot(self) -> Path:
        return self.path / SNAPSHOT

    @property
    def predictions(self) -> Path:
        """Predictions for the validation examples, see :mod:`beft_core.runs.predictions`."""
        return self.path / PREDICTIONS

    @property
    def starting(self) -> Path:
        """Lock (:mod:`beft_core.files.locks`) that is held by whoever is just starting the worker."""
        return self.path / "start"

    @property
    def working(self) -> Path:
        """Lock that the worker holds as long as it lives."""
        return self.path / "worker"

    @property
    def sweep(self) -> Path:
        """Folder of a "sweep" run, see :mod:`beft_core.sweeps.store`."""
        return self.path / "sweep"

    @property
    def result(self) -> Path:
        """Path of ``result.json``: of a "select" run the selected term of each approach and the scores, of a "merge"
        run a :class:`beft_core.merging.result.MergeResult`, of a "sweep" run how many fine-tunes it did.
        """
        return self.path / RESULT_FILE

    @classmethod
    def create(cls, kind: str, config: dict[str, Any], root: Path | None = None, executor: str = "local") -> Run:
        """Create a new queued run. Its name is made here and contains nothing that a user typed.

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
        record = {"version": RECORD_VERSION, "kind": kind, "config": config}
        try:
            atomic_write(run.path / "config.json", [json.dumps(record, indent=1).encode()])
            run.write_status(Status("queued", created=time.time(), executor=executor, host=host_name()))
        except BaseException:
            shutil.rmtree(run.path, ignore_errors=True)  # a folder without them would be listed as a damaged run
            raise
        return run

    def config(self) -> tuple[str, dict[str, Any]]:
        """Read the configuration: (kind, its fields).

        Raises:
            UserError: ``config.json`` is missing or damaged.
        """
        text = read_bounded(self.path / "config.json", CONFIG_BYTES, "the configuration of a run", follow=False)
        table = parse_json(text, "config.json")
        check(table, CONFIG, "config.json")
        kind, config = table["kind"], table["config"]
        return kind, config if "version" in table else KINDS[kind].completed(config)

    def read_result(self) -> dict[str, Any]:
        """Read ``result.json``.

        Raises:
            UserError: it is missing or damaged.
        """
        table = parse_json(read_bounded(self.result, RESULT_BYTES, "a result", follow=False), "result.json")
        check(table, RESULT, "result.json")
        return table

    @property
    def kind(self) -> Kind:
        """Kind of the run; ``UNKNOWN`` where its configuration is damaged."""
        try:
            return KINDS[self.config()[0]]
        except UserError:
            return UNKNOWN

    def has_folder_of_parts(self) -> bool:
        """Whether the run has begun to work in parts, so that resuming it does only the rest."""
        pattern = self.kind.finished
        return bool(pattern) and (self.path / Path(pattern).parts[0]).is_dir()

    def has_finished_parts(self) -> bool:
        """Whether parts are finished that are not done again when the run is resumed, such as fine-tunes of a sweep."""
        pattern = self.kind.finished
        return bool(pattern) and any(self.path.glob(pattern))

    # -- state -----------------------------------------------------------------------------------------------------

    def write_status(self, status: Status) -> None:
        """Replace ``status.json``. Only for the worker, and for whoever creates the run."""
        atomic_write(self.path / "status.json", [status.to_json().encode()])

    def requeue(self) -> None:
        """Make an ended run a queued one, with the executor that it had; only for whoever is starting it."""
        self.write_status(Status("queued", created=time.time(), executor=self.recorded().executor, host=host_name()))

    def recorded(self) -> Status:
        """Return the status as last written. A folder without a readable one is a failed run, not an error."""
        try:
            return self.read_status()
        except UserError as error:
            return Status(
                "failed",
                created=self._age_by_name(),
                message=f"The run's folder is damaged: {error}.",
                proposal="Start it again; the folder may be deleted.",
            )

    def read_status(self) -> Status:
        """Read the status as last written.

        Raises:
            UserError: ``status.json`` is missing or damaged.
        """
        text = read_bounded(self.path / "status.json", STATUS_BYTES, "the status of a run", follow=False)
        return Status.from_json(text)

    def status(self) -> Status:
        """Return the status as it is: ``lost`` and ``cancelled`` if the process is gone, ``cancelling`` if that was
        asked.
        """
        status = self.recorded()
        if not status.active:
            return status
        if self.attended(status):
            return replace(status, state="cancelling") if self.cancel_asked() else status
        status = self.recorded()  # it may have ended between the two looks
        if not status.active:
            return status
        if self.cancel_asked():
            how = "before a worker took it up" if status.process is None else "the worker had to be stopped by force"
            return replace(status, state="cancelled", message=f"Cancelled; {how}.")
        # The clock may have been set back since, so what was created in the future is no younger than the past.
        if status.process is None and abs(time.time() - status.created) < START_SECONDS:
            return status
        return self._lost(status)

    def attended(self, status: Status) -> bool:
        """Whether something works on an active run or is just starting its worker: as its executor says, and where
        that cannot be asked from here, as long as there is a sign of life."""
        name = EXECUTORS.get(status.executor)
        alive: bool | None = imported(name).is_alive(self, status) if name is not None else None
        return self.silence() < SILENCE_SECONDS if alive is None else alive

    def give_sign_of_life(self) -> None:
        """Let whoever cannot see the worker know that it is there. Only for the worker."""
        with suppress(OSError):
            os.utime(self.path / "status.json")

    def silence(self) -> float:
        """Seconds since the worker's last sign of life, by the clock of the disk."""
        try:
            return max(0.0, time.time() - (self.path / "status.json").stat().st_mtime)
        except OSError:
            return float("inf")

    def _lost(self, status: Status) -> Status:
        try:
            kind, config = self.config()
            resources = dict(KINDS[kind].resources(config))
        except UserError:
            resources = {}
        return replace(
            status,
            state="lost",
            message=how_it_ended(status, self.path, self.silence(), self.log_tail(60)),
            proposal=what_to_do(self.path, resources, resumable=self.checkpoint.is_file()),
        )

    def _age_by_name(self) -> float:
        try:
            return max(0.0, datetime.strptime(self.id[:22], "%Y%m%d-%H%M%S-%f").timestamp())
        except (ValueError, OverflowError, OSError):  # digits that are no date
            return 0.0

    # -- cancelling ------------------------------------------------------------------------------------------------

    def ask_cancel(self) -> None:
        """Leave the request for the worker; asking again changes nothing. See also :mod:`beft_core.execution.cancel`.

        Raises:
            UserError: the folder cannot be written.
        """
        if self.cancel_asked() or not self.status().active:
            return
        try:
            with open_plain(self.cancel_file, "ab", what="a folder to write to", follow=False) as file:
                file.write(f"{boot_id()} {time.monotonic()}".encode())
        except OSError as error:
            raise UserError(f"cannot write {self.cancel_file}: {error.strerror}", "a run that is still there") from None

    def cancel_asked(self) -> bool:
        """Whether cancelling was asked for."""
        return os.path.lexists(self.cancel_file)

    def cancel_age(self) -> float:
        """Seconds since cancelling was asked for, on the clock that nobody sets where the machine has one."""
        try:
            boot, moment = read_bounded(self.cancel_file, 200, follow=False).decode().split()
            if boot == boot_id():
                return max(0.0, time.monotonic() - float(moment))
        except (UserError, ValueError):  # of an earlier version, or being written
            pass
        try:
            return max(0.0, time.time() - self.cancel_file.lstat().st_mtime)
        except OSError:
            return 0.0

    def uncancel(self) -> None:
        """Take the request to cancel back."""
        with suppress(FileNotFoundError):
            self.cancel_file.unlink()

    @property
    def cancel_file(self) -> Path:
        """File that is there as soon as cancelling was asked for."""
        return self.path / "cancel"

    # -- measurements and log --------------------------------------------------------------------------------------

    def read_metrics(self, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Read measurements as :func:`beft_core.runs.reading.read_records` does."""
        return read_records(self.metrics, offset)

    def log_tail(self, lines: int = 12) -> list[str]:
        """Read the last lines of the log, without terminal colours and overwritten progress bars."""
        return last_lines(self.log, lines)


def list_runs(root: Path | None = None) -> list[Run]:
    """List all runs, newest first. Whatever else lies in the folder is not a run.

    Raises:
        UserError: the home folder is none, or cannot be read.
    """
    return runs_in((root or home()) / "runs")


def runs_in(folder: Path) -> list[Run]:
    """List the runs in a folder, newest first. Raises UserError as :func:`list_runs`."""
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(
            f"cannot list the runs in {folder}: {error.strerror}", "a folder", "another BEFT_HOME"
        ) from None
    return sorted(
        (Run(Path(e.path)) for e in entries if _ID.fullmatch(e.name) and e.is_dir(follow_symlinks=False)),
        reverse=True,
    )


def find_run(run_id: str, root: Path | None = None) -> Run:
    """Find a run by its name.

    Raises:
        UserError: not the name of a run, or no such run.
    """
    return find_in((root or home()) / "runs", run_id)


def find_in(folder: Path, run_id: str) -> Run:
    """Find a run by its name in a folder. Raises UserError as :func:`find_run`."""
    run = Run(folder / run_id) if _ID.fullmatch(run_id) else None
    if run is None or not run.path.is_dir():
        raise UserError(f"got the run {run_id!r}", "the name of a run in the home folder", "another one of the list")
    return run
