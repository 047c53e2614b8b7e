"""The state of a fine-tune on disk: kilobytes, written atomically every few seconds, read back bit for bit.

Randomness needs no state: the order of the examples follows from (seed, epoch) and dropout from (seed, step).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from beft_core.errors import UserError
from beft_core.safetensors_file import SafetensorsFile, write_safetensors

_KEY = "beft_checkpoint"


@dataclass
class Progress:
    """What the loop has done so far, besides the tensors."""

    step: int = 0
    """Optimizer steps that are complete."""
    seconds: float = 0.0
    history: list[list[dict[str, float | None]]] = field(default_factory=list)
    """Per run, one table of metrics per evaluated epoch."""
    trajectory: list[Any] = field(default_factory=list)
    """[step, [runs]] of each checkpoint of a trajectory."""
    failed: dict[str, str] = field(default_factory=dict)
    """Run number (as text, for JSON) -> why it was stopped."""
    leaves: dict[str, int] = field(default_factory=dict)
    """Run number -> the first step without it, if it failed."""


class Checkpoint:
    """One file. ``identity`` says which fine-tune it belongs to; another one refuses to resume from it."""

    def __init__(self, path: Path, identity: str, every_seconds: float = 5.0) -> None:
        self.path = path
        self.identity = identity
        self.every_seconds = every_seconds
        self._due = time.monotonic() + every_seconds

    def due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() >= self._due

    def save(self, tensors: Mapping[str, np.ndarray], progress: Progress) -> None:
        """Replace the file atomically. Saving never takes more than about a twentieth of the time."""
        started = time.monotonic()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        about = json.dumps({"identity": self.identity, **progress.__dict__}, sort_keys=True)
        write_safetensors(self.path, tensors, {_KEY: about})
        took = time.monotonic() - started
        self._due = time.monotonic() + max(self.every_seconds, 20 * took)

    def load(self) -> tuple[dict[str, np.ndarray], Progress] | None:
        """What was saved last, or None where nothing was.

        Raises UserError when the file belongs to another fine-tune or is damaged.
        """
        if not self.path.exists():
            return None
        file = SafetensorsFile(self.path)
        about: dict[str, Any] = json.loads(file.metadata.get(_KEY, "{}"))
        if about.pop("identity", None) != self.identity:
            raise UserError(
                f"got the checkpoint {self.path.name} of another fine-tune",
                "one of the same configuration, data and software",
                "another file, or delete it to start over",
            )
        return {name: file.read(name) for name in file.tensors}, Progress(**about)
