"""Names of devices and of their queues."""

from __future__ import annotations

import platform

import pytest

from beft_core import devices
from beft_core.devices import queue_name


def test_a_device_by_name_has_its_own_queue() -> None:
    assert queue_name("cpu") == "cpu" and queue_name("auto") in ("cpu", "cuda", "mps")


@pytest.mark.parametrize(
    ("system", "machine", "tool", "expected"),
    [
        ("Linux", "x86_64", "/usr/bin/nvidia-smi", "cuda"),
        ("Linux", "x86_64", None, "cpu"),
        ("Darwin", "arm64", None, "mps"),
        ("Darwin", "x86_64", None, "cpu"),
    ],
)
def test_auto_is_guessed_from_what_the_machine_is(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, tool: str | None, expected: str
) -> None:
    monkeypatch.setattr(devices.shutil, "which", lambda name: tool if name == "nvidia-smi" else None)
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert queue_name("auto") == expected
