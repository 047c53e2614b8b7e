"""Checkpoint, the state of a fine-tune on disk: kilobytes, written atomically every few seconds, read back bit for bit.

It is a safety net: where it cannot be written, the fine-tune goes on without one and tries again later.
Randomness needs no state: the order of the examples follows from (seed, epoch) and dropout from (seed, step).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from beft_core.errors import UserError
from beft_core.files.json_shape import Anything, ListOf, Maybe, Number, Table, Text, check
from beft_core.files.locks import hold
from beft_core.files.safe_io import parse_json
from beft_core.files.safetensors_file import SafetensorsFile, write_safetensors

_KEY = "beft_checkpoint"
_COUNT = Number(0, 2**53, whole=True)
_PER_RUN = 10**5
_ABOUT = Table(
    {
        "identity": Text(),
        "step": _COUNT,
        "seconds": Number(0),
        "history": ListOf(ListOf(Table(others=Maybe(Number()))), _PER_RUN),
        "trajectory": ListOf(Anything()),
    },
    {
        "failed": Table(others=Text(4096), most=_PER_RUN),
        "leaves": Table(others=_COUNT, most=_PER_RUN),
    },
)
"""Schema of the metadata that :meth:`Checkpoint.save` writes."""


class CheckpointError(UserError):
    """Error of a checkpoint that a fine-tune cannot go on from; starting over without it helps."""


@dataclass
class Progress:
    """State of the loop besides the tensors: how far it is, and what happened."""

    step: int = 0
    """Number of optimizer steps that are complete."""
    seconds: float = 0.0
    history: list[list[dict[str, float | None]]] = field(default_factory=list)
    """Metrics of each run: one table per evaluated epoch."""
    trajectory: list[Any] = field(default_factory=list)
    """Pairs (step, [runs]), one for each checkpoint of a trajectory."""
    failed: dict[str, str] = field(default_factory=dict)
    """Reason why a run was stopped, by its number (as text, for JSON)."""
    leaves: dict[str, int] = field(default_factory=dict)
    """First step without a run that failed, by its number."""


def held(path: Path | None) -> AbstractContextManager[None]:
    """Hold a checkpoint alone inside the block, where there is one: two fine-tunes would replace each other's state.

    Raises:
        UserError: another fine-tune has it (the message says which process), or its folder cannot be written.
    """
    if path is None:
        return nullcontext()
    with suppress(OSError):  # the lock says what is wrong
        path.parent.mkdir(parents=True, exist_ok=True)
    return hold(path, f"the checkpoint {path}", "another --checkpoint, or again when that one has ended")


class Checkpoint:
    """File with the state of one fine-tune. ``identity`` says which; another fine-tune refuses to resume from it."""

    def __init__(self, path: Path, identity: str, every_seconds: float = 5.0) -> None:
        self.path = path
        self.identity = identity
        self.every_seconds = every_seconds
        self.step: int | None = None
        """Number of steps that are in the file, as far as this process wrote or read it."""
        self._tried = self._failing = False
        self._due = time.monotonic() + every_seconds

    def due(self) -> bool:
        """Say whether it is time to save again."""
        return time.monotonic() >= self._due

    def lags(self, step: int) -> bool:
        """Say whether a fine-tune long enough to be saved at all is further than its file."""
        return self._tried and self.step != step

    def save(
        self,
        tensors: Mapping[str, np.ndarray],
        progress: Progress,
        report: Callable[[str], None],
        *,
        last: bool = False,
    ) -> bool:
        """Replace the file atomically; return whether that worked.

        ``report`` gets a failure once, until a save works again; the one of the ``last`` state always, because nothing
        comes after it. Saving never takes more than about a twentieth of the time.
        """
        started = time.monotonic()
        about = json.dumps({"identity": self.identity, **progress.__dict__}, sort_keys=True)
        self._tried = True
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_safetensors(self.path, tensors, {_KEY: about})
        except (UserError, OSError) as error:
            if last or not self._failing:
                report(f"the state after step {progress.step} is not saved ({error}); {self._then(last)}")
            self._failing = True
        else:
            if self._failing:
                report(f"the state is saved again, after step {progress.step}")
            self._failing, self.step = False, progress.step
        took = time.monotonic() - started
        self._due = time.monotonic() + max(self.every_seconds, 20 * took)
        return not self._failing

    def _then(self, last: bool) -> str:
        if not last:
            return "the fine-tune goes on, and this is tried again later"
        return f"{self.path.name} holds that after step {self.step}" if self.step is not None else "there is no other"

    def load(self) -> tuple[dict[str, np.ndarray], Progress] | None:
        """Read what was saved last, or None where nothing was.

        Raises:
            CheckpointError: the file belongs to another fine-tune or is damaged.
        """
        if not os.path.lexists(self.path):
            return None
        try:
            file = SafetensorsFile(self.path)
            about = parse_json(file.metadata.get(_KEY, ""), "its metadata")
            identity = about.get("identity")
            if identity == self.identity:
                check(about, _ABOUT, "its metadata")
                del about["identity"]
                tensors, progress = {name: file.read(name) for name in file.tensors}, Progress(**about)
                self._tried, self.step = True, progress.step
                return tensors, progress
        except UserError as error:
            raise self.damaged(error.got) from None
        raise CheckpointError(
            f"got the checkpoint {self.path.name} of another fine-tune",
            "one of the same configuration, data and software",
            "another file, or delete it to start over",
        )

    def damaged(self, why: str) -> CheckpointError:
        """Make the error that says why it cannot be gone on from."""
        return CheckpointError(
            f"the checkpoint {self.path} is damaged: {why}", "one that is complete", "deleting it to start over"
        )
