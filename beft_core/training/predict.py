"""Prediction: logits and metrics of the runs of a bank on validation sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch

from beft_core.training.batches.arrange import HostPass
from beft_core.training.batches.encoded import Encoded, Writing
from beft_core.training.batches.plan import by_length, cheapest_by_length, plan
from beft_core.training.forward import arranged, logits_of, pass_arrays
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.objectives.base import Metrics
from beft_core.training.objectives.free_text import Writer
from beft_core.training.session import Session

EVAL_TOKENS = {"cpu": 2048, "cuda": 65536, "mps": 8192}
"""Most computed tokens per pass without gradients, by device: enough to fill it, little enough to stay in cache."""


class Predictor:
    """Predictor that scores validation sets with a bank, which must be installed."""

    def __init__(
        self,
        bank: Bank,
        evals: Mapping[str, Encoded],
        metrics: Mapping[str, Metrics],
        session: Session,
        advance: Callable[[int], None] = lambda examples: None,
        validating: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Keep validation sets and their metrics, each by the name of the set.

        ``advance`` is called with the number of examples that are done since, ``validating`` with how many of how many
        of one evaluation are.
        """
        self.bank, self.evals, self.metrics, self.session = bank, evals, metrics, session
        self.advance, self.validating = advance, validating
        self.last: dict[int, dict[str, np.ndarray]] = {}
        """Logits of the last evaluation by run and validation set: float32 [examples, classes]; none of free text."""
        self._done = self._total = 0
        self._passes: dict[tuple[int, str], tuple[Encoded, list[tuple[np.ndarray, HostPass]]]] = {}

    def evaluate(self, run: int = 0) -> dict[str, float]:
        """Compute the metrics of a run on every validation set: metric -> value."""
        out: dict[str, float] = {}
        self._done, self._total = 0, sum(map(len, self.evals.values()))
        self.last[run] = {}
        for name, encoded in self.evals.items():
            if encoded.writing is not None:
                out.update(self.metrics[name](self.write(encoded, encoded.writing, run), encoded))
                continue
            logits = self.last[run][name] = self.predict(encoded, run)
            out.update(self.metrics[name](logits, encoded))
        self._total = 0
        return out

    def write(self, encoded: Encoded, writing: Writing, run: int = 0) -> list[str]:
        """Let a run's model write the answer to every prompt."""
        with self.session.evaluating():
            return Writer(self.bank, writing, self._count).texts(encoded, run)

    def _count(self, examples: int) -> None:
        """Report examples that are done since."""
        self.advance(examples)
        if self._total:
            self._done += examples
            self.validating(self._done, self._total)

    @torch.no_grad()
    def predict(self, encoded: Encoded, run: int = 0) -> np.ndarray:
        """Compute the logits of a run for every example, float32 [examples, classes]."""
        backbone, session = self.bank.model.backbone, self.session
        was_training = backbone.training
        backbone.eval()
        out: np.ndarray | None = None
        for group, one in self._arranged(encoded):
            owners = [np.full_like(run_of, run) for run_of in (one.run_of_row, one.run_of_example)]
            arrays = pass_arrays(self.bank, session, one, *owners)
            forward = partial(logits_of, self.bank, session, one.shape, tokens=encoded.tokens)
            with session.evaluating():
                logits = session.run(("predict", one.shape), arrays, forward).float().cpu().numpy()
            self._count(len(group))
            if out is None:
                out = np.empty((len(encoded), logits.shape[1]), np.float32)
            out[group[one.examples]] = logits
        backbone.train(was_training)
        assert out is not None
        return out

    def _arranged(self, encoded: Encoded) -> list[tuple[np.ndarray, HostPass]]:
        """Arrange the passes over a validation set, once for every run and epoch."""
        key = id(encoded), self.session.shaping.mask
        if key not in self._passes:
            passes = []
            device = self.bank.precision.device.type
            # On a GPU a pass is recorded for each shape, so that few shapes are worth some padding.
            split = cheapest_by_length if device == "cpu" else by_length
            for group in split(encoded.lengths, EVAL_TOKENS[device]):
                part = encoded.take(group)
                runs = np.zeros(len(part), np.int64)
                one = plan(part.lengths, runs, "longest", 0)[0]
                passes.append((group, arranged(self.bank, self.session, part, runs, one)))
            self._passes[key] = encoded, passes
        return self._passes[key][1]
