"""Survey of what this machine offers before anything is loaded or downloaded: device, memory, models, data. Without
torch.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from beft_core.architectures.resolve import layout_for
from beft_core.devices import queue_name
from beft_core.errors import UserError
from beft_core.files.hub import hub_cache
from beft_core.files.safe_io import read_json_file
from beft_core.models.source import BUNDLED, BUNDLED_PACKAGE
from beft_core.tasks.registry import HEAD_TASKS
from beft_core.tasks.sources.official import VARIABLES
from beft_core.tasks.sources.presence import presence

NVIDIA_SECONDS = 3.0
"""Seconds to wait for ``nvidia-smi``: it may hang when a driver is broken."""
MAX_MODELS = 200
"""Most repositories of the Hub's cache that are looked at."""


@dataclass(frozen=True)
class Device:
    """Device on which a run with ``device="auto"`` will most likely compute."""

    queue: str
    """Name of the device's queue, ``cuda``, ``mps`` or ``cpu``: a guess without torch, as in
    :func:`beft_core.devices.queue_name`.
    """
    name: str
    cores: int
    """Number of processors that this process may use."""


@functools.cache
def device() -> Device:
    """Find the device, once for each process, because hardware stays."""
    queue = queue_name("auto")
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cores = os.cpu_count() or 1
    name = {"cuda": _nvidia() or "NVIDIA GPU", "mps": "Apple GPU"}.get(queue, "CPU")
    return Device(queue, name, cores)


def _nvidia() -> str | None:
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    try:
        answer = subprocess.run(
            [command, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=NVIDIA_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    names = [line.strip() for line in answer.stdout.splitlines() if line.strip()]
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "") if names else None


def memory() -> tuple[float, float]:
    """Main memory in GiB: (free, total)."""
    now = psutil.virtual_memory()
    return now.available / 2**30, now.total / 2**30


def models() -> list[str]:
    """Names of the models that load without a network: ``bundled``, then ids of the Hub's cache that the lab knows how
    to read.
    """
    found = [BUNDLED] if importlib.util.find_spec(BUNDLED_PACKAGE) else []
    return found + [
        folder.name.removeprefix("models--").replace("--", "/")
        for folder in sorted(hub_cache().glob("models--*"))[:MAX_MODELS]
        if any(map(_loads, folder.glob("snapshots/*")))
    ]


def _loads(folder: Path) -> bool:
    try:
        layout_for(read_json_file(folder / "config.json"))
    except (UserError, OSError):
        return False
    return any((folder / name).exists() for name in ("model.safetensors", "model.safetensors.index.json"))


@dataclass(frozen=True)
class Data:
    """Benchmark with those of its tasks that lie on this machine."""

    source: str
    """Name of the benchmark: ``demo``, ``glue`` or ``superglue``."""
    tasks: tuple[str, ...]
    missing: str = ""
    """Advice where none of the tasks is here, in words."""
    lacking: tuple[str, ...] = ()
    """Names of the benchmark's other tasks, which would have to come from a folder or the Hub first."""


def data() -> list[Data]:
    """Tasks for a head that can be read without a network: the demo tasks always, the others from their folders or the
    Hub's cache."""
    found = [Data("demo", tuple(name for name, spec in HEAD_TASKS.items() if spec.source == "demo"))]
    for source, variable in VARIABLES.items():
        places = {name: presence(spec) for name, spec in HEAD_TASKS.items() if spec.source == source}
        if not places:
            continue
        here = tuple(name for name, place in places.items() if place.here)
        damaged = next((place.advice for place in places.values() if place.damaged), "")
        missing = "" if here else damaged or f"set {variable}"
        found.append(Data(source, here, missing, tuple(name for name in places if name not in here)))
    return found
