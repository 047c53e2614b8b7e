"""State of a run: the content of ``status.json``, and what it may hold."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from beft_core.files.json_shape import Flag, Maybe, Number, OneOf, Table, Text, check
from beft_core.files.safe_io import parse_json
from beft_core.process_id import ProcessId, host_name

ACTIVE: tuple[str, ...] = ("queued", "running", "cancelling")
FINAL: tuple[str, ...] = ("done", "cancelled", "failed", "lost")
STATES: tuple[str, ...] = ACTIVE + FINAL
"""Names of all states; ``lost`` is never written: it is what readers see of a run whose process vanished."""

EXECUTORS: dict[str, str] = {
    "local": "beft_core.execution.local:LOCAL",
    "slurm": "beft_core.execution.clusters.slurm:SLURM",
}
"""Executors by name: ``module:attribute`` of the :class:`beft_core.execution.executors.Executor`."""

STATUS_BYTES = 2**16
"""Most bytes of ``status.json`` that are read."""

_TIME = Number(0, 8e9)
"""Time in Unix seconds, up to the year 2223: pandas counts nanoseconds until 2262."""
_COUNT = Number(0, 2**53, whole=True)
_SENTENCE = Maybe(Text(4000))

STATUS = Table(
    {"state": OneOf(STATES), "created": _TIME},
    {
        "began": Maybe(_TIME),
        "ended": Maybe(_TIME),
        "process": Maybe(
            Table(
                {"pid": Number(1, 2**31 - 1, whole=True), "started": _TIME},
                {"boot": Maybe(Text(64)), "ticks": Maybe(_COUNT)},
            )
        ),
        "executor": Text(64),
        "host": Maybe(Text(255)),
        "job": Maybe(Text()),
        "device": Maybe(Text()),
        "position": Maybe(_COUNT),
        "stage": _SENTENCE,
        "stage_began": Maybe(_TIME),
        "done": _COUNT,
        "total": Maybe(_COUNT),
        "message": _SENTENCE,
        "proposal": _SENTENCE,
        "start_over": Flag(),
    },
)
"""Schema of ``status.json``."""


@dataclass(frozen=True)
class Status:
    """Content of ``status.json``. Times are Unix seconds."""

    state: str
    created: float
    began: float | None = None
    """Time when the run left the queue."""
    ended: float | None = None
    process: ProcessId | None = None
    """Process of the worker."""
    executor: str = "local"
    """Executor that does the run, a key of :data:`EXECUTORS`."""
    host: str | None = None
    """Machine of the worker, or of whoever is starting it; None in files of earlier versions: this one."""
    job: str | None = None
    """Id of the run at a scheduler."""
    device: str | None = None
    """Name of the queue in which the run stands."""
    position: int | None = None
    """Number of runs before it in the queue."""
    stage: str | None = None
    """Name of the stage at which the run is."""
    stage_began: float | None = None
    done: int = 0
    """Units of the stage that are done."""
    total: int | None = None
    """Units of the stage, where known."""
    message: str | None = None
    """Reason why the run ended, in words."""
    proposal: str | None = None
    """Proposal of what to try, where the run did not succeed."""
    start_over: bool = False
    """Whether the run ended because its checkpoint cannot be gone on from: only starting over helps."""

    @property
    def active(self) -> bool:
        """Whether the run's worker is at work or will be."""
        return self.state in ACTIVE

    @property
    def elsewhere(self) -> str | None:
        """Name of the worker's machine, where that is another one than this."""
        return self.host if self.host not in (None, host_name()) else None

    @property
    def fraction(self) -> float | None:
        """Share of the stage that is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else None

    def remaining_seconds(self, now: float) -> float | None:
        """Seconds until the end of the stage, at its mean speed so far; None before a fiftieth of it is done."""
        if self.stage_began is None or not self.total or self.done * 50 < self.total:
            return None
        return max(0.0, now - self.stage_began) * max(0, self.total - self.done) / self.done

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> Status:
        """Read a status. Raises UserError for anything that :meth:`to_json` would not write."""
        table = parse_json(text, "status.json")
        check(table, STATUS, "status.json")
        process = table.pop("process", None)
        return cls(**table, process=ProcessId(**process) if process is not None else None)
