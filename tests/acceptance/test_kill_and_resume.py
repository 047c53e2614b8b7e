"""A real process on the bundled model, killed at random moments and resumed, writes the bytes of an undisturbed one."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

SEED = 20250915


@dataclass(frozen=True)
class FineTune:
    """A command, and how many threads compute it."""

    flags: str
    threads: int
    kills: int
    longest_wait: float
    """Seconds from the first save of a process to its end, at most."""

    def start(self, folder: Path, name: str, *more: str) -> subprocess.Popen[bytes]:
        """The command, saving its state about as often as it can."""
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads), "BEFT_CHECKPOINT_SECONDS": "0.05"}
        out = ["--out", str(folder / f"{name}.beft.safetensors"), *more]
        command = [sys.executable, "-m", "beft_core", "train", *self.flags.split(), "--device", "cpu", *out]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


MANY_STEPS = FineTune(
    "--task demo-sentiment --terms v --n-train 32 --epochs 6 --evaluate-when never --seed 3 --trajectory-every 5",
    threads=1,
    kills=2,
    longest_wait=0.4,
)
WHOLE_VALIDATION = FineTune(
    "--task demo-acceptability --terms v q --n-train 32 --epochs 2 --evaluate-when epoch --seed 4",
    threads=2,
    kills=3,
    longest_wait=4.0,
)
"""Nearly all of its time goes into the 500 validation examples, so that is where it is killed."""
WHOLE_SST2 = FineTune(
    "--task sst2 --terms v --n-train 32 --epochs 2 --evaluate-when epoch --seed 5", threads=2, kills=3, longest_wait=8.0
)


def saved(checkpoint: Path) -> int:
    return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0


def words(stream: IO[bytes] | None) -> str:
    assert stream is not None
    return stream.read().decode()


def killed_and_resumed(fine_tune: FineTune, folder: Path) -> list[str]:
    """Holds the bytes against those of an undisturbed process; returns what each resumed process said."""
    whole = fine_tune.start(folder, "whole")
    assert whole.wait(timeout=200) == 0, words(whole.stderr)
    checkpoint, result = folder / "checkpoint.safetensors", folder / "resumed.beft.safetensors"
    rng, said = random.Random(SEED), list[str]()
    for kill in range(fine_tune.kills + 1):
        before = saved(checkpoint)
        process = fine_tune.start(folder, "resumed", "--checkpoint", str(checkpoint))
        if kill < fine_tune.kills:
            # Wait until this process has saved something itself, then a random while longer.
            while process.poll() is None and saved(checkpoint) == before:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, fine_tune.longest_wait))
            if process.poll() is None:
                process.kill()
                process.wait()
                said.append(words(process.stderr))
                assert not result.exists()
                continue
        assert process.wait(timeout=200) == 0, words(process.stderr)
        said.append(words(process.stderr))
        break
    assert len(said) > 1, "nothing was killed"
    assert result.read_bytes() == (folder / "whole.beft.safetensors").read_bytes()
    # The last process has removed what the killed ones left half-written.
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".checkpoint.safetensors.")} == {
        "whole.beft.safetensors",
        "resumed.beft.safetensors",
        "checkpoint.safetensors",
    }
    assert not list(folder.glob("*.tmp"))
    return said[1:]


def test_killed_at_random_steps_and_resumed(tmp_path: Path) -> None:
    assert "resumed after step" in killed_and_resumed(MANY_STEPS, tmp_path)[-1]


def test_killed_while_it_scores_the_whole_validation_set_on_several_threads(tmp_path: Path) -> None:
    assert "resumed after step" in killed_and_resumed(WHOLE_VALIDATION, tmp_path)[-1]


@pytest.mark.skipif("BEFT_GLUE_DIR" not in os.environ, reason="needs SST-2 in the folder BEFT_GLUE_DIR")
def test_killed_while_it_scores_all_of_sst2_on_several_threads(tmp_path: Path) -> None:
    assert "resumed after step" in killed_and_resumed(WHOLE_SST2, tmp_path)[-1]
