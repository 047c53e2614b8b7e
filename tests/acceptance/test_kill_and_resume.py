"""A real process on the bundled model, killed at random steps and resumed, writes the bytes of an undisturbed one."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

COMMAND = [
    sys.executable, "-m", "beft_core", "train", "--task", "demo-sentiment", "--terms", "v", "--n-train", "32",
    "--epochs", "6", "--evaluate-when", "never", "--seed", "3", "--device", "cpu", "--trajectory-every", "5",
]  # fmt: skip


def start(folder: Path, name: str, *more: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "BEFT_CHECKPOINT_SECONDS": "0.05"}
    out = ["--out", str(folder / f"{name}.beft.safetensors"), *more]
    return subprocess.Popen([*COMMAND, *out], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_killed_at_random_steps_and_resumed(tmp_path: Path) -> None:
    whole = start(tmp_path, "whole")
    assert whole.wait(timeout=200) == 0, whole.stderr and whole.stderr.read()
    checkpoint = tmp_path / "checkpoint.safetensors"
    rng = random.Random(20250915)
    kills = 0
    for _ in range(12):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        process = start(tmp_path, "resumed", "--checkpoint", str(checkpoint))
        if kills < 2:
            # Wait until this process has saved something itself, then a random while longer.
            while process.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.4))
            if process.poll() is None:
                process.kill()
                process.wait()
                kills += 1
                assert not (tmp_path / "resumed.beft.safetensors").exists()
                continue
        assert process.wait(timeout=200) == 0, process.stderr and process.stderr.read()
        break
    assert kills >= 1
    files = [(tmp_path / f"{name}.beft.safetensors").read_bytes() for name in ("whole", "resumed")]
    assert files[0] == files[1]
