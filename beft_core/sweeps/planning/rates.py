"""Rates at which this machine does the work of fine-tunes, learned from every sweep that it has finished.

``rates.json`` in the home folder: host, device, precision and model -> operations (of
:mod:`beft_core.sweeps.planning.work`) and the seconds that they took.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from pathlib import Path

from beft_core.devices import queue_name
from beft_core.errors import UserError
from beft_core.files.home import home
from beft_core.files.json_shape import Number, Table, check
from beft_core.files.safe_io import atomic_write, read_json_file

NAME = "rates.json"
MAX_ENTRIES = 500
"""Most machines and models that are remembered; of more, those that were used last."""
KEPT = 0.7
"""Weight of what was known when a sweep adds to it: a machine that became faster is believed after a few."""
_RATE = Table({"operations": Number(0, 1e30), "seconds": Number(0, 1e12)})


@dataclass(frozen=True)
class Machine:
    """Device, precision and model for which a rate holds."""

    device: str
    """Queue of the device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``."""
    precision: str
    model: str

    @classmethod
    def of(cls, device: str, precision: str, model: str) -> Machine:
        """Make the machine of a configuration's fields; all GPUs of a host count as one kind."""
        return cls(queue_name(device).partition(":")[0], precision, model)

    def key(self, model: str | None = None) -> str:
        """Name the machine in the file, with another model where one is given."""
        return "|".join((platform.node(), self.device, self.precision, model or self.model))


@dataclass(frozen=True)
class Rate:
    """Rate of a machine."""

    per_second: float
    """Operations per second."""
    model: str
    """Model that it was measured with, which may be another than the one it is used for."""


def known(machine: Machine) -> Rate | None:
    """Find the rate of a machine: with the same model, else with the one that took longest; None before any."""
    entries = _read()
    exact = entries.get(machine.key())
    if exact is not None:
        return Rate(exact[0] / exact[1], machine.model)
    start = machine.key("\0").partition("\0")[0]
    others = {key.removeprefix(start): value for key, value in entries.items() if key.startswith(start)}
    if not others:
        return None
    model = max(others, key=lambda name: others[name][1])
    return Rate(others[model][0] / others[model][1], model)


def learn(machine: Machine, operations: float, seconds: float) -> None:
    """Remember that a machine took so many seconds for so much work; nothing where it was too little to say anything.

    A home folder that cannot be written is left as it is: rates are a convenience.
    """
    if operations <= 0 or seconds < 1:
        return
    entries = _read()
    before = entries.pop(machine.key(), (0.0, 0.0))
    entries[machine.key()] = (KEPT * before[0] + operations, KEPT * before[1] + seconds)
    kept = dict(list(entries.items())[-MAX_ENTRIES:])
    table = {key: {"operations": value[0], "seconds": value[1]} for key, value in kept.items()}
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        atomic_write(_file(), [json.dumps(table, indent=1).encode()])
    except (OSError, UserError):
        return


def _file() -> Path:
    return home() / NAME


def _read() -> dict[str, tuple[float, float]]:
    """Read what is known; a damaged entry, or file, counts as unknown."""
    try:
        table = read_json_file(_file(), 2**20)
    except UserError:
        return {}
    found = {}
    for key, value in table.items():
        try:
            check(value, _RATE, key)
        except UserError:
            continue
        if value["operations"] > 0 and value["seconds"] > 0:
            found[key] = (float(value["operations"]), float(value["seconds"]))
    return found
