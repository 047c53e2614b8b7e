"""The most memory of a block, on a CPU."""

from __future__ import annotations

import time

import numpy as np
import torch

from beft_core.training.estimate.peak_memory import PeakMemory


def test_what_is_held_for_a_moment_counts() -> None:
    def peak(megabytes: int) -> int:
        with PeakMemory(torch.device("cpu")) as memory:
            held = np.ones(megabytes * 2**17)  # float64
            time.sleep(0.1)
            del held
        assert memory.available > 0
        return memory.peak

    small, large = peak(1), peak(200)
    assert 150 * 2**20 < large - small < 400 * 2**20
