"""The training loop: R fine-tunes of one frozen model, step by step; a single fine-tune is R = 1."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from beft_core.config import RunConfig
from beft_core.errors import out_of_memory
from beft_core.models.biases import LoadedModel
from beft_core.training.acceleration.compiled_layers import compiled_layers, layers_of, layers_run_once, uncompiled
from beft_core.training.acceleration.cpu_dropout import cpu_dropout
from beft_core.training.acceleration.cuda_graphs import Replays
from beft_core.training.acceleration.deferred_reads import Readings
from beft_core.training.acceleration.fast_gelu import short_gelu
from beft_core.training.acceleration.fused_qkv import one_product
from beft_core.training.acceleration.hashed_dropout import hand_out_keys, hashed_dropout
from beft_core.training.acceleration.segment_attention import attends_plainly, attention_by, serves
from beft_core.training.batches.arrange import (
    Arranged,
    Encoded,
    Form,
    Plan,
    arrange,
    by_length,
    join,
    lay_out,
    over_one_table,
    plan,
    rounded_rows,
)
from beft_core.training.batches.run_index import Route, route_arrays, to_device
from beft_core.training.checkpoint import Checkpoint, Progress
from beft_core.training.live_scores import LiveScores
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.methods.weights import Weights
from beft_core.training.objectives.base import Metrics, Objective
from beft_core.training.observer import Observer
from beft_core.training.optimizer import BankAdamW

EVAL_TOKENS = {"cpu": 2048, "cuda": 65536, "mps": 8192}
"""Computed tokens per pass without gradients, by device: enough to fill it, little enough to stay in cache."""
KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""PyTorch's kernels of attention on a GPU, for models and rows that do not fit into ours."""
HASHED = {"cuda"}
"""Devices on which compiled layers hash their dropout."""
REPORT_SECONDS = 0.2
"""Losses are told at most this often."""


@dataclass(frozen=True)
class Job:
    """One run of a bank: its settings (resolved), its own examples, and the parts of the bank that it trains."""

    config: RunConfig
    train: Encoded
    owned: set[str]
    frozen: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Part -> bool of its shape: elements of a trained part that stay as they are, because they are null."""

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.train) / self.config.batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        assert self.config.epochs is not None
        return self.config.epochs * self.steps_per_epoch

    def batch(self, step: int) -> Encoded:
        """The examples of a step. The order of an epoch depends on the seed and the epoch alone."""
        epoch, at = divmod(step, self.steps_per_epoch)
        order = _order(self.config.seed, epoch, len(self.train))
        return self.train.take(order[at * self.config.batch_size : (at + 1) * self.config.batch_size])

    def lr(self, step: int) -> float:
        """Learning rate of a step."""
        assert self.config.lr is not None
        decay = 1 - step / self.steps if self.config.schedule == "linear" else 1.0
        return self.config.lr * decay


@dataclass
class Outcome:
    """What a run left behind."""

    history: list[dict[str, float | None]]
    steps: int
    stopped: bool
    """Whether it was stopped before its last step."""
    failure: str | None
    """Why it was taken out of the bank, if it was."""
    trajectory: dict[str, np.ndarray] = field(default_factory=dict)
    """Part -> [checkpoints, width]."""
    trajectory_steps: list[int] = field(default_factory=list)


class Trainer:
    """Trains the jobs of a bank together. All jobs share the task, the batch's padding and the device."""

    def __init__(
        self,
        bank: Bank,
        jobs: Sequence[Job],
        *,
        evals: Mapping[str, Encoded],
        metrics: Mapping[str, Metrics],
        objective: Objective,
        pad: str,
        weights: Weights | None = None,
        checkpoint: Checkpoint | None = None,
        observer: Observer | None = None,
        compile: bool = False,
        replay: bool = True,
    ) -> None:
        """``compile``: run the layers as compiled programs (see
        :mod:`beft_core.training.acceleration.compiled_layers`). ``replay``: run steps as CUDA graphs where that can be
        (see :mod:`beft_core.training.acceleration.cuda_graphs`).
        """
        self.compile, self.replay = compile, replay
        sets = over_one_table([*(job.train for job in jobs), *evals.values()])
        self.tokens = sets[0].tokens
        self.jobs = [replace(job, train=train) for job, train in zip(jobs, sets, strict=False)]
        self.evals = dict(zip(evals, sets[len(jobs) :], strict=True))
        self.bank, self.metrics = bank, metrics
        self.objective, self.pad, self.weights = objective, pad, weights
        self.checkpoint, self.observer = checkpoint, observer or Observer()
        self.model: LoadedModel = bank.model
        self.device = bank.precision.device
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
        decays = any(job.config.weight_decay for job in self.jobs)
        self._before = bank.values.clone() if decays else None
        """What weight decay must not shrink: values of parts that a run does not train, and null elements."""
        self.progress = Progress(history=[[] for _ in self.jobs])
        self.loss_sum = torch.zeros(len(self.jobs), device=self.device)
        self.readings = Readings(self.device)
        self._told = 0.0
        self.trajectory: list[np.ndarray] = []
        """Bias terms of the runs that wanted them at a step, [runs, bias elements] each: see Progress.trajectory."""
        wanted = self.observer.wants_scores and len(self.jobs) == 1
        self.live_scores = LiveScores(bank, self.jobs[0].owned) if wanted else None
        self.mask = "tokens"
        """What keeps examples apart in a pass, a key of ``MASKS``: inside a fine-tune on a GPU another than outside."""
        self.rounded = False
        """Whether shapes are rounded so that few occur: where they are recorded."""
        self._keyed: list[nn.Module] = []
        """Modules that need a fresh key before each pass with dropout."""
        self.replays = Replays(self.device, self.observer.message)
        self._passes: dict[tuple[int, str], tuple[Encoded, list[tuple[np.ndarray, Arranged]]]] = {}
        self.observing_evaluation = False
        """Whether predictions advance the observer: not inside a fine-tune, whose unit is the step."""

    def _settings(self, of_runs: Sequence[float | None]) -> Tensor:
        """One number of each run, float32 [runs]."""
        return torch.tensor(of_runs, dtype=torch.float32, device=self.device)

    @property
    def total_steps(self) -> int:
        """Steps of the longest job."""
        return max((job.steps for job in self.jobs), default=0)

    def fit(self) -> list[Outcome]:
        """Run every job to its end, to a request to stop, or from the checkpoint on."""
        self._resume()
        stopped = False
        self._told = time.monotonic()
        clock = time.monotonic() - self.progress.seconds
        self.observer.stage("train", self.total_steps)
        self.observer.advance(self.progress.step)
        with self.bank.installed(), self._training():
            while self.progress.step < self.total_steps and self._live():
                if self.observer.should_stop():
                    stopped = True
                    break
                step = self.progress.step
                self._step(step)
                self.progress.step = step = step + 1
                ends = any(step <= job.steps and step % job.steps_per_epoch == 0 for job in self.jobs)
                saves = self.checkpoint is not None and self.checkpoint.due()
                self._read(all=ends or saves)
                self._keep_trajectory(step)
                self._tell_scores(step)
                self.observer.advance()
                self._end_epochs(step)
                self.progress.seconds = time.monotonic() - clock
                if saves:
                    self._save()
            self._read(all=True)
        # Also at the end: writing the result may fail, and is then tried again without training again.
        if self.checkpoint is not None and (stopped or self.checkpoint.lags(self.progress.step)):
            self._save(last=True)
        return [self._outcome(run, stopped) for run in range(len(self.jobs))]

    def _tell_scores(self, step: int) -> None:
        """At the first step, the last one, and about once a second between them."""
        if self.live_scores is not None and (self.live_scores.due() or step == self.total_steps):
            table = self.live_scores.table()
            if table:
                self.observer.scores(step, table)

    # -- one step --------------------------------------------------------------------------------------------------

    def _live(self) -> list[int]:
        step, leaves = self.progress.step, self.progress.leaves
        return [run for run, job in enumerate(self.jobs) if step < min(job.steps, leaves.get(str(run), job.steps))]

    def _step(self, step: int) -> None:
        """Forward, backward and update of every live run."""
        live = self._live()
        torch.manual_seed(_step_seed([self.jobs[run].config.seed for run in live], step))
        parts = [self.jobs[run].batch(step) for run in live]
        batch = join(parts)
        runs = [run for run, part in zip(live, parts, strict=True) for _ in range(len(part))]
        longest = max(self.jobs[run].config.max_length for run in live)
        passes = [
            self._arrange(batch, runs, one)
            for one in plan(batch.lengths.tolist(), runs, self.pad, longest, rounded=self.rounded)
        ]
        lrs = np.array([job.lr(step) if step < job.steps else 0.0 for job in self.jobs], np.float32)
        arrays = {"lr": lrs, "active": np.isin(np.arange(len(self.jobs)), live)}
        size = np.bincount(runs, minlength=len(self.jobs))
        for number, one in enumerate(passes):
            own = self._arrays(one, one.run_of_row, one.run_of_example)
            own["labels"] = batch.labels[one.examples]
            own["share"] = (1.0 / size[one.run_of_example]).astype(np.float32)
            arrays |= {f"{number}.{name}": array for name, array in own.items()}
        forms = tuple(one.form for one in passes)
        values = self.replays.run(forms, arrays, lambda tensors: self._update(forms, tensors, float(lrs[0])))
        self.readings.add(step, values)

    def _update(self, forms: Sequence[Form], tensors: Mapping[str, Tensor], lr_of_weights: float) -> Tensor:
        """The device's part of a step: mean loss and clipping factor of each run, [2, runs]."""
        self.bank.grads.zero_()
        if self.weights is not None:
            self.weights.zero_grad()
        losses = torch.zeros(len(self.jobs), device=self.device)
        for number, form in enumerate(forms):
            own = _below(tensors, f"{number}.")
            logits = self._forward(form, own)
            # The loss of each example, divided by the examples that its run has in the whole step.
            weighted = self.objective.loss(logits, own["labels"]) * own["share"]
            weighted.sum().backward()
            assert self.bank.examples is not None
            losses += self.bank.examples.group(weighted.detach()).sum(1)
        self.bank.mask_grads()
        other = self.weights.square_norm() if self.weights is not None else 0.0
        factor = self.optimizer.step(self.bank.grads, tensors["lr"], tensors["active"], other)
        if self._before is not None:
            self.bank.values.copy_(torch.where(self.bank.owned, self.bank.values, self._before))
        if self.weights is not None:
            self.weights.step(float(factor[0]), lr_of_weights)
        self.loss_sum += losses
        return torch.stack([losses, factor])

    def _arrange(self, batch: Encoded, runs: list[int], one: Plan) -> Arranged:
        rows = rounded_rows(len(one.rows)) if self.rounded and self.pad == "packed" else None
        return arrange(self.model, batch, runs, one, mask=self.mask, rows=rows)

    def _arrays(self, one: Arranged, run_of_row: list[int], run_of_example: list[int]) -> dict[str, np.ndarray]:
        """Everything that a forward pass needs on the device."""
        arrays = dict(one.arrays)
        routes = {"row": run_of_row, "example": run_of_example} if self.bank.runs > 1 else {"example": run_of_example}
        for items, run_of in routes.items():
            made = route_arrays(run_of, self.bank.runs, rounded=self.rounded)
            arrays |= {f"{items}.{name}": array for name, array in made.items()}
        return arrays

    def _forward(self, form: Form, tensors: Mapping[str, Tensor]) -> Tensor:
        """Logits of one pass."""
        self.bank.route(_route(tensors, "row") if self.bank.runs > 1 else None, _route(tensors, "example"))
        if self.model.backbone.training and self._keyed:
            hand_out_keys(self._keyed, self.device)
        dtype = torch.bfloat16 if self.bank.precision.low else torch.float32
        laid = lay_out(self.model, form, tensors, self.tokens, dtype)
        with self.bank.precision.autocast():
            return self.bank.logits(self.bank.vectors(laid))

    def _read(self, all: bool = False) -> None:
        """Look at the losses of past steps: note which runs failed, and tell the observer."""
        for step, values in self.readings.due(all):
            losses, factors = values.tolist()
            for run, job in enumerate(self.jobs):
                live = step < job.steps and str(run) not in self.progress.failed
                if live and not (math.isfinite(losses[run]) and math.isfinite(factors[run])):
                    self._note_failure(run, step)
            if time.monotonic() - self._told > REPORT_SECONDS or step + 1 == self.total_steps:
                self.observer.step(step + 1, self.total_steps, losses)
                self._told = time.monotonic()

    def _note_failure(self, run: int, step: int) -> None:
        """The run leaves the bank, at a step that does not depend on when this was read: what the others draw does.

        Until then nothing of it changes in a step that is not finite (see BankAdamW).
        """
        lr = self.jobs[run].config.lr
        text = f"the loss or its gradient was not finite at step {step + 1}; try a learning rate below {lr:g}"
        self.progress.failed[str(run)] = text
        self.progress.leaves[str(run)] = self.readings.known_after(step)
        self.observer.message(f"run {run}: {text}" if len(self.jobs) > 1 else text)

    @contextmanager
    def _training(self) -> Iterator[None]:
        """Training mode, with dropout as the jobs want it."""
        backbone = self.model.backbone
        with ExitStack() as stack:
            backbone.train(self.jobs[0].config.dropout)
            stack.callback(backbone.eval)
            on_cpu = self.device.type == "cpu" and self.jobs[0].config.dropout
            stack.enter_context(cpu_dropout(backbone) if on_cpu else nullcontext())
            # cuDNN's attention builds a plan for every new shape: 100 ms a step where rows have many widths.
            stack.enter_context(sdpa_kernel(KERNELS) if self.device.type == "cuda" else nullcontext())
            stack.callback(self._forget_training)
            by_segments = serves(self.model, self.bank.precision)
            replays = self.replay and can_replay(self.model, self.device, self.pad, self.weights)
            self.mask, self.rounded = "segments" if by_segments else "additive" if replays else "tokens", replays
            if self.mask != "tokens":
                self._keyed += stack.enter_context(attention_by(self.model, self.mask))
            stack.enter_context(one_product(self.model) if by_segments and self.weights is None else nullcontext())
            if self.compile and self.device.type in HASHED and layers_run_once(self.model):
                self._keyed += stack.enter_context(hashed_dropout(layers_of(self.model)))
            if self.compile and self.device.type in HASHED and self.bank.precision.low:
                stack.enter_context(short_gelu(layers_of(self.model)))
            stack.enter_context(compiled_layers(self.model) if self.compile else nullcontext())
            stack.enter_context(self.replays.recording() if replays else nullcontext())
            yield

    def _forget_training(self) -> None:
        self.mask, self.rounded, self._keyed = "tokens", False, []

    # -- around the steps ------------------------------------------------------------------------------------------

    def _end_epochs(self, step: int) -> None:
        for run, job in enumerate(self.jobs):
            if step > job.steps or step % job.steps_per_epoch or str(run) in self.progress.failed:
                continue
            row: dict[str, float | None] = {
                "epoch": step // job.steps_per_epoch,
                "step": step,
                "train_loss": _finite(float(self.loss_sum[run]) / job.steps_per_epoch),
            }
            self.loss_sum[run] = 0.0
            last = step == job.steps
            if job.config.evaluate == "epoch" or (job.config.evaluate == "last" and last):
                row.update({name: _finite(value) for name, value in self.evaluate(run).items()})
            self.progress.history[run].append(row)
            self.observer.epoch({k: v for k, v in row.items() if v is not None}, run)

    def evaluate(self, run: int = 0) -> dict[str, float]:
        """Metrics of a run on every validation set. Needs the bank to be installed."""
        out: dict[str, float] = {}
        for name, encoded in self.evals.items():
            out.update(self.metrics[name](self.predict(encoded, run), encoded.labels))
        return out

    @torch.no_grad()
    def predict(self, encoded: Encoded, run: int = 0) -> np.ndarray:
        """Logits of a run for every example, float32 [examples, classes]."""
        backbone = self.model.backbone
        was_training = backbone.training
        backbone.eval()
        out: np.ndarray | None = None
        for group, one in self._arranged(encoded):
            arrays = self._arrays(one, [run] * len(one.run_of_row), [run] * len(one.run_of_example))
            forward = partial(self._forward, one.form)
            with uncompiled() if self.compile else nullcontext():
                logits = self.replays.run(("predict", one.form), arrays, forward).float().cpu().numpy()
            if self.observing_evaluation:
                self.observer.advance(len(group))
            if out is None:
                out = np.empty((len(encoded), logits.shape[1]), np.float32)
            out[group[one.examples]] = logits
        backbone.train(was_training)
        assert out is not None
        return out

    def _arranged(self, encoded: Encoded) -> list[tuple[np.ndarray, Arranged]]:
        """The passes over a validation set: arranged once for every run and epoch."""
        assert encoded.tokens is self.tokens
        key = id(encoded), self.mask
        if key not in self._passes:
            passes = []
            for group in by_length(encoded.lengths, EVAL_TOKENS[self.device.type]):
                part = encoded.take(group)
                runs = [0] * len(part)
                one = plan(part.lengths.tolist(), runs, "longest", 0)[0]
                passes.append((group, arrange(self.model, part, runs, one, mask=self.mask)))
            self._passes[key] = encoded, passes
        return self._passes[key][1]

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
            self.trajectory.append(values[to_device(np.array(wanting), self.device)].cpu().numpy())

    def _outcome(self, run: int, stopped: bool) -> Outcome:
        job = self.jobs[run]
        failure = self.progress.failed.get(str(run))
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
            failure,
            trajectory,
            [step for step, _ in rows],
        )

    # -- checkpoint ------------------------------------------------------------------------------------------------

    def _save(self, last: bool = False) -> None:
        assert self.checkpoint is not None
        tensors: dict[str, np.ndarray] = {
            "values": self.bank.values.cpu().numpy(),
            "loss_sum": self.loss_sum.cpu().numpy(),
        }
        tensors |= {f"adam.{name}": value.cpu().numpy() for name, value in self.optimizer.state().items()}
        tensors |= {f"trajectory.{number}": values for number, values in enumerate(self.trajectory)}
        if self.weights is not None:
            tensors |= {f"weights.{name}": value for name, value in self.weights.state().items()}
        self.checkpoint.save(tensors, self.progress, self.observer.message, last=last)

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
        self.observer.message(f"resumed after step {self.progress.step} of {self.total_steps}")

    def _take_over(self, tensors: Mapping[str, np.ndarray], progress: Progress) -> None:
        self.progress = progress
        self.bank.values.copy_(torch.tensor(tensors["values"]))
        self.loss_sum.copy_(torch.tensor(tensors["loss_sum"]))
        self.optimizer.load_state({n: torch.tensor(tensors[f"adam.{n}"]) for n in self.optimizer.state()})
        self.trajectory = [tensors[f"trajectory.{number}"] for number in range(len(self.progress.trajectory))]
        if self.weights is not None:
            self.weights.load_state(
                {n.removeprefix("weights."): v for n, v in tensors.items() if n.startswith("weights.")}
            )


def can_replay(model: LoadedModel, device: torch.device, pad: str, weights: Weights | None) -> bool:
    """Whether steps have few shapes and look at no number on the device, as a CUDA graph needs it."""
    return device.type == "cuda" and weights is None and pad != "buckets" and attends_plainly(model)


def _below(tensors: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    """Those whose names begin so, without it."""
    return {name.removeprefix(start): one for name, one in tensors.items() if name.startswith(start)}


def _route(tensors: Mapping[str, Tensor], items: str) -> Route:
    return Route(**_below(tensors, f"{items}."))


@lru_cache(maxsize=256)
def _order(seed: int, epoch: int, examples: int) -> np.ndarray:
    """The order of an epoch; asked for at every step of each run of a bank."""
    return np.random.default_rng([seed, 1, epoch]).permutation(examples)


def _step_seed(seeds: Sequence[int], step: int) -> int:
    """The seed of a step's dropout: a function of the runs' seeds and the step, so that resuming needs no state."""
    return int(np.random.SeedSequence([*seeds, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
