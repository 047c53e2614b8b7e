"""Job, one run of a bank: what it trains on, in which order and how fast, and what it leaves behind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np

from beft_core.config import RunConfig
from beft_core.training.batches.encoded import Encoded


@dataclass(frozen=True)
class Job:
    """Run of a bank: its settings (resolved), its own examples, and the parts of the bank that it trains."""

    config: RunConfig
    train: Encoded
    owned: set[str]
    frozen: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Masks, bool of a part's shape, of the elements of trained parts that stay as they are because they are null, by
    part.
    """

    @cached_property
    def steps_per_epoch(self) -> int:
        """Number of optimizer steps of an epoch; the last one may have fewer examples."""
        return math.ceil(len(self.train) / self.config.batch_size)

    @cached_property
    def steps(self) -> int:
        """Number of optimizer steps of the whole run; 0 where nothing is trained."""
        if not self.config.method.trains:
            return 0
        assert self.config.epochs is not None
        return self.config.epochs * self.steps_per_epoch

    def batch(self, step: int) -> np.ndarray:
        """Choose the examples of a step: positions in ``train``, int64 [at most a batch].

        The order of an epoch depends on the seed and the epoch alone.
        """
        epoch, at = divmod(step, self.steps_per_epoch)
        order = _order(self.config.seed, epoch, len(self.train))
        return order[at * self.config.batch_size : (at + 1) * self.config.batch_size]

    def lr(self, step: int) -> float:
        """Compute the learning rate of a step: constant, or falling linearly to 0; 0 after the last step."""
        assert self.config.lr is not None
        if step >= self.steps:
            return 0.0
        decay = 1 - step / self.steps if self.config.schedule == "linear" else 1.0
        return self.config.lr * decay


@dataclass
class Outcome:
    """Result of a run in a bank: its history, and how it ended."""

    history: list[dict[str, float | None]]
    steps: int
    stopped: bool
    """Whether the run was stopped before its last step."""
    failure: str | None
    """Reason why the run was taken out of the bank; None where it was not."""
    trajectory: dict[str, np.ndarray] = field(default_factory=dict)
    """Values along the fine-tune by part: [checkpoints, width]."""
    trajectory_steps: list[int] = field(default_factory=list)


@lru_cache(maxsize=256)
def _order(seed: int, epoch: int, examples: int) -> np.ndarray:
    """Compute the order of an epoch's examples, once: it is asked for at every step of each run of a bank."""
    return np.random.default_rng([seed, 1, epoch]).permutation(examples)


def step_seed(seeds: Sequence[int], step: int) -> int:
    """Derive the seed of a step's dropout from the runs' seeds and the step, so that resuming needs no state."""
    return int(np.random.SeedSequence([*seeds, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))
