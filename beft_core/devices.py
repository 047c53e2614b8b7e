"""Names of devices, without torch."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version

NVIDIA_SECONDS = 10.0
"""Seconds to wait for ``nvidia-smi``: it may hang when a driver is broken."""


def queue_name(device: str) -> str:
    """Name of the queue of a device.

    ``auto`` is guessed without importing torch, so that a waiting run costs no memory. A wrong guess only means that
    two runs may share a device.
    """
    if device != "auto":
        return device
    if shutil.which("nvidia-smi"):
        return "cuda"
    return "mps" if (platform.system(), platform.machine()) == ("Darwin", "arm64") else "cpu"


def gpus() -> tuple[str, ...]:
    """List the NVIDIA GPUs that this process may use, as the variable ``CUDA_VISIBLE_DEVICES`` of another takes them.

    Parts of a GPU (MIG) count as GPUs. Empty where there are none, or where PyTorch is one that can use none.
    """
    try:
        if version("torch").endswith("+cpu"):
            return ()
    except PackageNotFoundError:
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(_listed())
    words = [word.strip() for word in visible.split(",")]
    hidden = next((place for place, word in enumerate(words) if word in ("", "-1")), len(words))
    return tuple(words[:hidden])  # CUDA ends the list there, too


def gpu_bytes() -> int | None:
    """Memory of the smallest GPU of this machine in bytes; None where that is not known."""
    sizes = [int(word) for word in _nvidia("--query-gpu=memory.total", "--format=csv,noheader,nounits").split()]
    return min(sizes) * 2**20 if sizes else None


def _listed() -> list[str]:
    """List the GPUs of the machine by number, and their parts by name."""
    found: list[str] = []
    parts: list[str] = []
    for line in _nvidia("-L").splitlines():
        if match := re.match(r"GPU (\d+):", line):
            found, parts = found + parts, [match[1]]
        elif match := re.search(r"UUID: (MIG-[\w/-]+)", line):
            parts = [*(part for part in parts if part.startswith("MIG-")), match[1]]
    return found + parts


@cache
def _nvidia(*flags: str) -> str:
    """Answer of ``nvidia-smi``, asked once; empty where there is none."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return ""
    try:
        return subprocess.run(
            [command, *flags], capture_output=True, text=True, timeout=NVIDIA_SECONDS, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
