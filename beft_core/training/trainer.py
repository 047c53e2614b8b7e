"""Training loop: R fine-tunes of one frozen model, step by step; a single fine-tune is R = 1."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from beft_core.errors import out_of_memory
from beft_core.training.batches.arrange import PassShape
from beft_core.training.batches.encoded import Encoded, join, over_one_table
from beft_core.training.forward import below, logits_of, passes_of_step
from beft_core.training.job import Job, Outcome, step_seed
from beft_core.training.methods.base import Weights
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.objectives.base import Metrics, Objective
from beft_core.training.observer import Observer
from beft_core.training.optimizer import BankAdamW
from beft_core.training.predict import Predictor
from beft_core.training.progress.checkpoint import Checkpoint, Progress
from beft_core.training.progress.record import Record
from beft_core.training.session import Session


class Trainer:
    """Trainer of the jobs of a bank together. All jobs share the task, the batch's padding and the device."""

    def __init__(
        self,
        bank: Bank,
        jobs: Sequence[Job],
        *,
        evals: Mapping[str, Encoded],
        metrics: Mapping[str, Metrics],
        objective: Objective,
        pad: str,
        session: Session | None = None,
        weights: Weights | None = None,
        checkpoint: Checkpoint | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Put the loop together.

        ``session``: what makes it faster, or None; ``weights``: what is trained outside of the bank.
        """
        sets = over_one_table([*(job.train for job in jobs), *evals.values()])
        self.tokens = sets[0].tokens
        self.jobs = [replace(job, train=train) for job, train in zip(jobs, sets, strict=False)]
        self.examples = join(sets[: len(jobs)])
        """Training examples of all jobs, one job after the other."""
        counts = np.array([len(job.train) for job in jobs])
        self._first = np.cumsum(counts) - counts
        self.bank, self.pad, self.objective = bank, pad, objective
        self.device = bank.precision.device
        self.session, self.weights = session or Session(self.device), weights or Weights()
        self.checkpoint, self.observer = checkpoint, observer or Observer()
        validation = dict(zip(evals, sets[len(jobs) :], strict=True))
        predictor = Predictor(bank, validation, metrics, self.session, validating=self.observer.validating)
        self.record = Record(bank, self.jobs, predictor, self.session.readings, self.observer)
        for run, job in enumerate(self.jobs):
            bank.own(run, job.owned, job.frozen)
        configs = [job.config for job in self.jobs]
        self.optimizer = BankAdamW(
            bank.values,
            weight_decay=self._settings([config.weight_decay for config in configs]),
            clip=self._settings([config.clip for config in configs]),
            epsilon=self._settings([config.adam_epsilon for config in configs]),
            epsilon_before=self._settings([config.adam_epsilon_at == "before" for config in configs]).bool(),
        )
        decays = any(config.weight_decay for config in configs)
        self._before = bank.values.clone() if decays else None
        """Values before the training, for what weight decay must not shrink: parts that a run does not train, and null
        elements.
        """

    def _settings(self, of_runs: Sequence[float | None]) -> Tensor:
        """Collect one number of each run, float32 [runs]."""
        return torch.tensor(of_runs, dtype=torch.float32, device=self.device)

    def fit(self) -> list[Outcome]:
        """Run every job to its end, to a request to stop, or from the checkpoint on."""
        self._resume()
        record, backbone = self.record, self.bank.model.backbone
        stopped = False
        clock = time.monotonic() - record.progress.seconds
        self.observer.stage("train", record.total_steps)
        self.observer.advance(record.progress.step)
        backbone.train(self.jobs[0].config.dropout)
        try:
            with self.bank.installed(), self.weights.installed(), self.session.training():
                record.score_untrained()
                while live := record.live():
                    if self.observer.should_stop():
                        stopped = True
                        break
                    self._step(record.progress.step, live)
                    record.progress.step += 1
                    step = record.progress.step
                    saves = self.checkpoint is not None and self.checkpoint.due()
                    record.read(all=saves or record.ends_an_epoch(step))
                    record.after_step(step)
                    record.progress.seconds = time.monotonic() - clock
                    if saves:
                        self._save()
                record.read(all=True)
        finally:
            backbone.eval()
        # Also at the end: writing the result may fail, and is then tried again without training again.
        if self.checkpoint is not None and (stopped or self.checkpoint.lags(record.progress.step)):
            self._save(last=True)
        return [record.outcome(run, stopped) for run in range(len(self.jobs))]

    # -- one step --------------------------------------------------------------------------------------------------

    def _step(self, step: int, live: list[int]) -> None:
        """Take the batch of every live run, arrange all examples in passes, and update the runs."""
        torch.manual_seed(step_seed([self.jobs[run].config.seed for run in live], step))
        chosen = [self.jobs[run].batch(step) for run in live]
        runs = np.repeat(live, list(map(len, chosen)))
        batch = self.examples.take(np.concatenate(chosen) + self._first[runs])
        longest = max(self.jobs[run].config.max_length for run in live)
        weights = self.objective.weights(batch)
        shapes, arrays = passes_of_step(self.bank, self.session, batch, runs, self.pad, longest, weights)
        arrays["lr"] = np.array([job.lr(step) for job in self.jobs], np.float32)
        arrays["active"] = np.bincount(live, minlength=len(self.jobs)) > 0
        update = partial(self._update, shapes, float(arrays["lr"][0]))
        self.session.readings.add(step, self.session.run(shapes, arrays, update))

    def _update(self, shapes: Sequence[PassShape], lr: float, tensors: Mapping[str, Tensor]) -> Tensor:
        """Run forward, loss of each example, backward and update: mean loss and clipping factor of each run, [2, runs].

        ``shapes``: of the passes; ``lr``: of the first run; ``tensors``: the arrays of the step on the device.
        """
        self.bank.grads.zero_()
        self.weights.zero_grad()
        losses = torch.zeros(len(self.jobs), device=self.device)
        for number, shape in enumerate(shapes):
            own = below(tensors, f"{number}.")
            logits = logits_of(self.bank, self.session, shape, own, self.tokens, self.objective.relative)
            # The loss of each example, times its share in the mean over all that its run has in the whole step.
            weighted = self.objective.loss(logits, own["labels"]) * own["share"]
            weighted.sum().backward()
            losses += self.bank.by_run(weighted.detach()).sum(1)
        self.bank.mask_grads()
        factor = self.optimizer.step(self.bank.grads, tensors["lr"], tensors["active"], self.weights.square_norm())
        if self._before is not None:
            self.bank.values.copy_(torch.where(self.bank.owned, self.bank.values, self._before))
        self.weights.step(factor, lr)
        self.record.loss_sum += losses
        return torch.stack([losses, factor])

    # -- checkpoint ------------------------------------------------------------------------------------------------

    def _save(self, last: bool = False) -> None:
        assert self.checkpoint is not None
        tensors = {"values": self.bank.values.cpu().numpy(), **self.record.state()}
        tensors |= {f"adam.{name}": value.cpu().numpy() for name, value in self.optimizer.state().items()}
        tensors |= {f"weights.{name}": value for name, value in self.weights.state().items()}
        self.checkpoint.save(tensors, self.record.progress, self.observer.message, last=last)

    @torch.no_grad()
    def _resume(self) -> None:
        loaded = self.checkpoint.load() if self.checkpoint is not None else None
        if loaded is None:
            return
        assert self.checkpoint is not None
        try:
            self._take_over(*loaded)
        except (LookupError, TypeError, ValueError, RuntimeError) as error:  # tensors of something else
            if out_of_memory(error):
                raise
            raise self.checkpoint.damaged(f"{type(error).__name__}: {error}") from None
        progress = self.record.progress
        self.observer.message(f"resumed after step {progress.step} of {self.record.total_steps}")

    def _take_over(self, tensors: Mapping[str, np.ndarray], progress: Progress) -> None:
        self.bank.values.copy_(torch.tensor(tensors["values"]))
        self.record.load_state(tensors, progress)
        self.optimizer.load_state({n: torch.tensor(tensors[f"adam.{n}"]) for n in self.optimizer.state()})
        self.weights.load_state({n.removeprefix("weights."): v for n, v in tensors.items() if n.startswith("weights.")})
