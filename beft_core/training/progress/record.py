"""Record of a training while it goes on: losses, failures, epochs, trajectories, live scores."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from beft_core.training.batches.run_index import to_device
from beft_core.training.job import Job, Outcome
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.observer import Observer
from beft_core.training.predict import Predictor
from beft_core.training.progress.checkpoint import Progress
from beft_core.training.progress.live_scores import LiveScores
from beft_core.training.session import Readings

REPORT_SECONDS = 0.2
"""Least seconds between two reports of losses."""


class Record:
    """Record of the progress of the jobs of a bank, for the observer, the checkpoint and the result."""

    def __init__(
        self, bank: Bank, jobs: Sequence[Job], predictor: Predictor, readings: Readings, observer: Observer
    ) -> None:
        self.bank, self.jobs, self.predictor = bank, jobs, predictor
        self.readings, self.observer = readings, observer
        self.progress = Progress(history=[[] for _ in jobs])
        self.loss_sum = torch.zeros(len(jobs), device=bank.precision.device)
        """Sum of the losses of each run since its last epoch ended, [runs]."""
        self.trajectory: list[np.ndarray] = []
        """Bias terms of the runs that wanted them at a step, [runs, bias elements] each: see Progress.trajectory."""
        wanted = observer.wants_scores and len(jobs) == 1
        self._live_scores = LiveScores(bank, jobs[0].owned) if wanted else None
        self._reported = time.monotonic()

    @property
    def total_steps(self) -> int:
        """Number of steps of the longest job."""
        return max((job.steps for job in self.jobs), default=0)

    def live(self) -> list[int]:
        """List the runs that the next step updates: those that have neither ended nor failed."""
        step, leaves = self.progress.step, self.progress.leaves
        return [run for run, job in enumerate(self.jobs) if step < min(job.steps, leaves.get(str(run), job.steps))]

    def ends_an_epoch(self, step: int) -> bool:
        """Say whether an epoch of some run ends with so many steps."""
        return any(step <= job.steps and step % job.steps_per_epoch == 0 for job in self.jobs)

    def score_untrained(self) -> None:
        """Score the runs that train nothing, as the end of an epoch without steps."""
        for run, job in enumerate(self.jobs):
            if job.steps == 0 and not self.progress.history[run]:
                scored = self.predictor.evaluate(run) if job.config.evaluate != "never" else {}
                row = {"epoch": 0, "step": 0, **{name: _finite(value) for name, value in scored.items()}}
                self.progress.history[run].append(row)
                self.observer.epoch({name: value for name, value in row.items() if value is not None}, run)

    def read(self, all: bool = False) -> None:
        """Look at the losses of past steps that are due, or at ``all``: note failed runs, report to the observer."""
        for step, values in self.readings.due(all):
            losses, factors = values.tolist()
            for run, job in enumerate(self.jobs):
                live = step < job.steps and str(run) not in self.progress.failed
                if live and not (math.isfinite(losses[run]) and math.isfinite(factors[run])):
                    self._note_failure(run, step)
            if time.monotonic() - self._reported > REPORT_SECONDS or step + 1 == self.total_steps:
                self.observer.step(step + 1, self.total_steps, losses)
                self._reported = time.monotonic()

    def _note_failure(self, run: int, step: int) -> None:
        """Take a run out of the bank, at a step that does not depend on when this was read: what the others draw does.

        Until then nothing of it changes in a step that is not finite (see BankAdamW).
        """
        lr = self.jobs[run].config.lr
        text = f"the loss or its gradient was not finite at step {step + 1}; try a learning rate below {lr:g}"
        self.progress.failed[str(run)] = text
        self.progress.leaves[str(run)] = self.readings.known_after(step)
        self.observer.message(f"run {run}: {text}" if len(self.jobs) > 1 else text)

    def after_step(self, step: int) -> None:
        """Keep trajectories, report scores, and end the epochs that end with so many steps."""
        self._keep_trajectory(step)
        self._report_scores(step)
        self.observer.advance()
        for run, job in enumerate(self.jobs):
            if step <= job.steps and step % job.steps_per_epoch == 0 and str(run) not in self.progress.failed:
                self._end_epoch(run, job, step)

    def _end_epoch(self, run: int, job: Job, step: int) -> None:
        row: dict[str, float | None] = {
            "epoch": step // job.steps_per_epoch,
            "step": step,
            "train_loss": _finite(float(self.loss_sum[run]) / job.steps_per_epoch),
        }
        self.loss_sum[run] = 0.0
        if job.config.evaluate == "epoch" or (job.config.evaluate == "last" and step == job.steps):
            row.update({name: _finite(value) for name, value in self.predictor.evaluate(run).items()})
        self.progress.history[run].append(row)
        self.observer.epoch({k: v for k, v in row.items() if v is not None}, run)

    def _report_scores(self, step: int) -> None:
        """Report scores at the first step, the last one, and about once a second between them."""
        if self._live_scores is not None and (self._live_scores.due() or step == self.total_steps):
            table = self._live_scores.table()
            if table:
                self.observer.scores(step, table)

    def _keep_trajectory(self, step: int) -> None:
        wanting = [
            run
            for run, job in enumerate(self.jobs)
            if job.config.trajectory_every is not None
            and step <= job.steps
            and (step % job.config.trajectory_every == 0 or step == job.steps)
        ]
        if wanting:
            self.progress.trajectory.append([step, wanting])
            values = self.bank.values[:, : self.bank.slots_end]
            self.trajectory.append(values[to_device(np.array(wanting), values.device)].cpu().numpy())

    def outcome(self, run: int, stopped: bool) -> Outcome:
        """Sum up a run. ``stopped``: whether the training was stopped."""
        job = self.jobs[run]
        steps = min(self.progress.step, job.steps)
        rows = [
            (step, values[runs.index(run)])
            for (step, runs), values in zip(self.progress.trajectory, self.trajectory, strict=True)
            if run in runs
        ]
        trajectory = {}
        if rows:
            followed = np.stack([values for _, values in rows])  # (checkpoints, bias elements)
            trajectory = {name: followed[:, part.columns] for name, part in self.bank.slot_parts.items()}
        return Outcome(
            self.progress.history[run],
            steps,
            stopped and steps < job.steps,
            self.progress.failed.get(str(run)),
            trajectory,
            [step for step, _ in rows],
        )

    def state(self) -> dict[str, np.ndarray]:
        """Return the arrays that a checkpoint keeps besides the progress."""
        trajectory = {f"trajectory.{number}": values for number, values in enumerate(self.trajectory)}
        return {"loss_sum": self.loss_sum.cpu().numpy(), **trajectory}

    def load_state(self, tensors: Mapping[str, np.ndarray], progress: Progress) -> None:
        """Put back what :meth:`state` returned, and the progress."""
        self.progress = progress
        self.loss_sum.copy_(torch.tensor(tensors["loss_sum"]))
        self.trajectory = [tensors[f"trajectory.{number}"] for number in range(len(progress.trajectory))]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
