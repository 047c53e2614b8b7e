"""Names of devices and of their queues."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

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


def tool(folder: Path, monkeypatch: pytest.MonkeyPatch, answers: dict[str, str], torch: str = "2.13.0") -> None:
    """A played ``nvidia-smi`` and a PyTorch for GPUs."""
    script = folder / "nvidia-smi"
    cases = "".join(f"'{flag}') printf '%s\\n' '{answer}';;\n" for flag, answer in answers.items())
    script.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}*) exit 9;;\nesac\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "version", lambda name: torch)
    devices._nvidia.cache_clear()


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    devices._nvidia.cache_clear()


WHOLE = "GPU 0: NVIDIA H200 (UUID: GPU-1-a)\nGPU 1: NVIDIA H200 (UUID: GPU-2-b)"
PARTS = (
    "GPU 0: NVIDIA H200 (UUID: GPU-1-a)\n  MIG 1g.18gb Device 0: (UUID: MIG-x-1)"
    "\n  MIG 1g.18gb Device 1: (UUID: MIG-x-2)"
    "\nGPU 1: NVIDIA H200 (UUID: GPU-2-b)"
)


@pytest.mark.parametrize(
    ("listed", "visible", "expected"),
    [
        (WHOLE, None, ("0", "1")),
        (PARTS, None, ("MIG-x-1", "MIG-x-2", "1")),
        (WHOLE, "1", ("1",)),
        (WHOLE, "GPU-2-b, GPU-1-a", ("GPU-2-b", "GPU-1-a")),
        (WHOLE, "1,-1,0", ("1",)),
        (WHOLE, "", ()),
        ("no devices", None, ()),
    ],
)
def test_gpus_are_those_that_a_process_may_use(
    listed: str, visible: str | None, expected: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tmp_path, monkeypatch, {"-L": listed})
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.gpus() == expected


def test_a_pytorch_without_gpus_or_a_broken_driver_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, monkeypatch, {"-L": WHOLE}, torch="2.13.0+cpu")
    assert devices.gpus() == ()
    tool(tmp_path, monkeypatch, {})
    assert devices.gpus() == () and devices.gpu_bytes() is None


def test_memory_is_that_of_the_smallest_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, monkeypatch, {"--query-gpu=memory.total": "143771\n81559"})
    assert devices.gpu_bytes() == 81559 * 2**20
