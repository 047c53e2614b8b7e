"""Names of devices, without torch."""

from __future__ import annotations

import platform
import shutil


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
