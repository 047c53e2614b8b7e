"""A real process on the bundled model, killed at random moments and resumed, writes the bytes of an undisturbed one."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import prepared
import pytest
from prepared import Command

SEED = 20250915


@dataclass(frozen=True)
class FineTune:
    """A command, and how many threads compute it."""

    flags: str
    threads: int
    kills: int
    longest_wait: float
    """Seconds from the first save of a process to its end, at most."""
    from_scratch: bool = False
    """Whether the undisturbed command starts an interpreter of its own; that takes longer than all the rest."""

    def words(self, folder: Path, name: str, *more: str) -> list[str]:
        """The command; ``TABLE`` in the flags stands for a file of 160 rows."""
        table = folder / "beside" / "films.csv"
        if not table.exists():
            table.parent.mkdir()
            rows = (f"film {row} has {row % 7} parts,{('bad', 'good')[row * row % 3 == 1]}" for row in range(160))
            table.write_text("\n".join(["text,label", *rows]))
        out = ["--out", str(folder / f"{name}.beft.safetensors"), *more]
        return ["train", *self.flags.replace("TABLE", str(table)).split(), "--device", "cpu", *out]

    def start(self, folder: Path, name: str, *more: str) -> Command:
        """The command, saving its state about as often as it can."""
        streams = folder / "beside" / name
        return prepared.start(
            self.words(folder, name, *more), streams, threads=self.threads, BEFT_CHECKPOINT_SECONDS="0.05"
        )

    def whole(self, folder: Path) -> bytes:
        """The snapshot of an undisturbed command."""
        words = self.words(folder, "whole")
        if self.from_scratch:
            command = [sys.executable, "-m", "beft_core", *words]
            environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads)}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
            assert done.returncode == 0, done.stderr
        else:
            process = prepared.start(words, folder / "beside" / "whole", threads=self.threads)
            assert process.wait(timeout=200) == 0, process.said()
        return (folder / "whole.beft.safetensors").read_bytes()


MANY_STEPS = FineTune(
    "--task demo-sentiment --terms v --n-train 16 --batch-size 4 --epochs 6 --max-length 16 --evaluate-when never "
    "--seed 3 --trajectory-every 5",
    threads=1,
    kills=2,
    longest_wait=0.4,
    from_scratch=True,
)
WHOLE_VALIDATION = FineTune(
    "--train-file TABLE --eval-file TABLE --text text --label label --terms v q --n-train 8 --epochs 2 "
    "--evaluate-when epoch --seed 4",
    threads=2,
    kills=3,
    longest_wait=1.0,
)
"""Nearly all of its time goes into the 160 validation examples, so that is where it is killed."""
WHOLE_SST2 = FineTune(
    "--task sst2 --terms v --n-train 32 --epochs 2 --evaluate-when epoch --seed 5", threads=2, kills=3, longest_wait=8.0
)


def saved(checkpoint: Path) -> int:
    return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0


def killed_and_resumed(fine_tune: FineTune, folder: Path) -> list[str]:
    """Holds the bytes against those of an undisturbed process; returns what each resumed process said."""
    whole = fine_tune.whole(folder)
    checkpoint, result = folder / "checkpoint.safetensors", folder / "resumed.beft.safetensors"
    rng, said = random.Random(SEED), list[str]()
    for kill in range(fine_tune.kills + 1):
        before = saved(checkpoint)
        process = fine_tune.start(folder, "resumed", "--checkpoint", str(checkpoint))
        if kill < fine_tune.kills:
            # Wait until this process has saved something itself, then a random while longer.
            while process.running() and saved(checkpoint) == before:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, fine_tune.longest_wait))
            if process.kill() == -9:
                said.append(process.said())
                assert not result.exists()
                continue
        assert process.wait(timeout=200) == 0, process.said()
        said.append(process.said())
        break
    assert len(said) > 1, "nothing was killed"
    assert result.read_bytes() == whole
    # The last process has removed what the killed ones left half-written.
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".checkpoint.safetensors.")} == {
        "whole.beft.safetensors",
        "resumed.beft.safetensors",
        "checkpoint.safetensors",
        "beside",
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
