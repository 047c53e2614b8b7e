"""Estimate of the time and memory of a fine-tune from a few real steps of it.

The same code as in the fine-tune itself runs twice on parts of its data. First on its longest examples: that is what
fills the memory, and it takes what only the first pass costs. Then on random batches, which are timed, with one
evaluation. Everything else (loading, tokenising, certifying, Fisher information) is timed where it happens.
"""

from __future__ import annotations

import dataclasses
import gc
import math
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import psutil
import torch

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel
from beft_core.snapshots.snapshot import SnapshotMeta
from beft_core.tasks.examples import Examples, TaskData
from beft_core.training import inputs, workflow
from beft_core.training.batches.encoded import Encoded
from beft_core.training.estimate.peak_memory import PeakMemory
from beft_core.training.estimate.prompt_lengths import PromptLengths, prompt_lengths
from beft_core.training.fisher.of_snapshots import measure_tuned_fisher
from beft_core.training.job import Job
from beft_core.training.objectives.registry import objective_of
from beft_core.training.observer import Observer
from beft_core.training.precision import pick_device
from beft_core.training.preconditions import require_something_to_train
from beft_core.training.result import device_name

TIMED_SECONDS = 4.0
"""Seconds for which steps are timed, about."""
MAX_STEPS = 12
EVALUATED, SCORED, TOKENISED = 128, 32, 256
"""Numbers of examples on which evaluation, Fisher information and the tokenizer are timed."""
FISHER, TUNED_FISHER = "measure Fisher information", "measure Fisher information of the tuned model"
LOAD_AGAIN = "load the model again"
"""Stages of a fine-tune that are timed by themselves."""

_first: dict[str, float] = {}
"""Seconds that only the first time in a process costs, by stage: every run is a new process, this one is not."""


@dataclass(frozen=True)
class Estimate:
    """Parameters, time and memory of a fine-tune, as a few real steps measured them."""

    trainable: int
    """Number of trained parameters, counted as in the paper: without the head."""
    total: int
    frozen: tuple[str, ...]
    """Terms that were asked for and are certified null."""
    examples: int
    """Number of training examples."""
    evaluated: int
    """Number of examples of the validation sets."""
    steps: int
    seconds: float
    """Seconds from the first stage of the run to its end, without the wait in the queue."""
    parts: dict[str, float]
    """Seconds by stage; they add up to ``seconds``."""
    bytes: int
    """Most bytes of memory in use at a time: of the GPU where there is one, else of the process."""
    memory: int
    """Bytes of that device's memory that are free now or held by this measurement."""
    step_ms: float
    """Median milliseconds of a step."""
    spread: float
    """Standard deviation of the timed steps over their median, without a unit."""
    timed_steps: int
    load: float
    """Mean number of processes per core that wanted to compute during the last minute; above 1 the machine is busy with
    others.
    """
    device: str
    how: str
    """Description of how this was measured."""
    prompts: PromptLengths | None = None
    """Lengths of the prompts; None for a task without prompts."""


def estimate(config: RunConfig, start_seconds: float) -> Estimate:
    """Estimate parameters, time and memory of a fine-tune from a few real steps of it.

    ``start_seconds``: seconds that a new process needs to import PyTorch.

    Raises:
        UserError: wrong configuration, data or model, or a loss that is not finite within these steps.
    """
    config = config.resolved()
    device = pick_device(config.device)
    load = psutil.getloadavg()[0] / (psutil.cpu_count() or 1)
    gc.collect()
    with PeakMemory(device) as memory:
        took = {"start PyTorch": start_seconds}
        with _timed(took, "load data"):
            data = inputs.load_data(config)
            require_something_to_train(config, data.spec)
            train = inputs.sample(config, data.train)
        with _timed(took, "load model"):
            placement = inputs.placement_for([config])
            model = inputs.load(config, placement=placement)
        config = config.resolved(model.layout)
        took["load model"] = max(took["load model"], _first.setdefault(f"load {config.model}", took["load model"]))
        prompts = prompt_lengths(model, data, train, config.max_length)
        # On a GPU a shape is computed as it is once, then recorded in memory of its own, then replayed (see
        # acceleration/replay/cuda_graphs.py). So there one batch is taken again and again, and what is timed begins
        # with the third.
        on_gpu = device.type == "cuda"
        steps = 0 if not config.method.trains else 2 if on_gpu else 1
        first = _fit(config, model, data, _longest(train, config.batch_size), steps=steps, few=8)
        rounded = config.precision != "float32" and not (placement is not None and placement.bfloat16)
        if rounded or config.method.beyond_biases:
            del model  # before it is read again, since the first pass rounded its weights, or trained them
            model = inputs.load(config, placement=placement)
        count = _steps_to_time(first.step_seconds[0]) if steps else 0
        batches = count
        if on_gpu and steps:
            count, batches = max(count, 6), 1
        few = _few_to_time(first) if data.spec.prompt is not None else EVALUATED
        second = _fit(config, model, data, _draw(train, batches * config.batch_size, 1), steps=count, few=few)
        meta = second.meta
    measured = _extrapolate(config, data, train, took, first, second, meta, memory, device, load)
    return dataclasses.replace(measured, prompts=prompts)


@dataclass
class _Fit:
    """Times that the stages of one short fine-tune took."""

    clock: _Clock
    meta: SnapshotMeta
    tokens: float
    """Mean number of tokens of the examples."""
    tokenised_per_second: float
    evaluated: int
    scored: int

    @property
    def step_seconds(self) -> list[float]:
        return list(np.diff(self.clock.ticks))

    @property
    def evaluation_seconds(self) -> float | None:
        """Seconds of the evaluation; None where the time ran out before it."""
        return self.clock.evaluated


def _fit(config: RunConfig, model: LoadedModel, data: TaskData, train: Examples, *, steps: int, few: int) -> _Fit:
    """Fine-tune `steps` steps, none where nothing is trained, and evaluate `few` examples of each validation set."""
    evals = {name: _draw(part, few, 2) for name, part in data.evals.items()} if config.evaluate != "never" else {}
    began = time.perf_counter()
    objective = objective_of(data.spec)
    encoded = objective.encode(model, train, config.max_length, training=True)
    coded = {name: objective.encode(model, part, config.max_length) for name, part in evals.items()}
    texts = len(encoded) + sum(map(len, coded.values()))
    speed = texts / max(time.perf_counter() - began, 1e-6)
    per_epoch = math.ceil(len(encoded) / config.batch_size)
    short = dataclasses.replace(
        config,
        n_train=len(encoded) if steps else None,
        epochs=math.ceil(steps / per_epoch) if steps else 1,
        trajectory_every=None,
        evaluate="last" if evals else "never",
        fisher_examples=min(config.fisher_examples or SCORED, SCORED),
    )
    clock = _Clock(pick_device(config.device))
    (trained,) = workflow.fit_bank(model, data, [short], trains=[encoded], evals=coded, observer=clock)
    if trained.failure is not None:
        raise UserError(
            f"the fine-tune diverged: {trained.failure}", "a loss that stays finite", "a smaller learning rate"
        )
    if config.fisher_tuned:
        clock.stage(LOAD_AGAIN)  # as the run does: the fine-tune may have rounded the weights
        again = inputs.load(config, placement=inputs.placement_for([config], exact=True))
        measure_tuned_fisher(trained.snapshot, again, data, encoded, short, clock)
        clock.stage("")
    tokens = float(np.mean(np.concatenate([encoded.lengths, *(part.lengths for part in coded.values())])))
    scored = min(SCORED, len(encoded)) if config.fisher or config.fisher_tuned else 0
    return _Fit(clock, trained.snapshot.meta, tokens, speed, sum(map(len, coded.values())), scored)


class _Clock(Observer):
    """Observer that notes when stages and steps end."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stages: dict[str, float] = {}
        self.ticks: list[float] = []
        """Times of the begin of the training and of the end of each step, in seconds."""
        self.evaluated: float | None = None
        self._stage = ("", time.perf_counter())

    def stage(self, name: str, total: int | None = None) -> None:
        now = self._now()
        before, began = self._stage
        self.stages[before] = now - began
        self._stage = name, now

    def advance(self, n: int = 1) -> None:
        if self._stage[0] == "train":
            self.ticks.append(self._now())  # the first one comes before the first step, with n = 0

    def epoch(self, metrics: dict[str, float], run: int = 0) -> None:
        self.evaluated = self._now() - self.ticks[-1]

    def should_stop(self) -> bool:
        return len(self.ticks) > 2 and self.ticks[-1] - self.ticks[0] > 4 * TIMED_SECONDS

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # its steps are only queued when they return
        return time.perf_counter()


def _extrapolate(
    config: RunConfig,
    data: TaskData,
    train: Examples,
    took: dict[str, float],
    first: _Fit,
    second: _Fit,
    meta: SnapshotMeta,
    memory: PeakMemory,
    device: torch.device,
    load: float,
) -> Estimate:
    warming = 2 if device.type == "cuda" else 1
    times = second.step_seconds[warming:] or second.step_seconds
    step = statistics.median(times) if times else 0.0  # other programs interrupt single steps for long
    job = Job(config, Encoded.of([np.empty(0)] * len(train), None, np.empty(0)), set())
    evaluated = sum(map(len, data.evals.values()))
    epochs = {"epoch": (config.epochs or 1) if job.steps else 1, "last": 1, "never": 0}[config.evaluate]
    if second.evaluation_seconds is not None and second.evaluated:
        per_example = second.evaluation_seconds / second.evaluated
    else:  # a forward pass alone is about a third of a step
        per_example = step / config.batch_size / 3
    once = max(0.0, first.step_seconds[0] - step) if first.step_seconds else 0.0
    once += max(0.0, (first.evaluation_seconds or 0.0) - per_example * first.evaluated)
    took["first pass"] = _first.setdefault("pass", once)
    took["tokenise"] = (len(train) + evaluated) / second.tokenised_per_second
    took["certify null terms"] = first.clock.stages.get("certify null terms", 0.0)
    stages = second.clock.stages
    wanted = min(config.fisher_examples or len(train), len(train))
    if config.fisher:
        took[FISHER] = stages[FISHER] * wanted / second.scored
    took["train"] = step * job.steps
    took["evaluate"] = per_example * evaluated * epochs
    if config.fisher_tuned:
        took[LOAD_AGAIN] = stages[LOAD_AGAIN]
        took[TUNED_FISHER] = stages[TUNED_FISHER] * wanted / second.scored
    tokens = (len(train) + evaluated) * second.tokens
    most = memory.peak if device.type == "cuda" else memory.peak + int(16 * tokens)
    assert meta.trained_parameters is not None and meta.total_parameters is not None
    return Estimate(
        trainable=meta.trained_parameters,
        total=meta.total_parameters,
        frozen=tuple(t for t in meta.null_terms if _asked(config, t)) if not config.train_null else (),
        examples=len(train),
        evaluated=evaluated,
        steps=job.steps,
        seconds=sum(took.values()),
        parts={name: round(seconds, 4) for name, seconds in took.items()},
        bytes=most,
        memory=memory.available,
        step_ms=1000 * step,
        spread=statistics.pstdev(times) / step if len(times) > 1 else 0.0,
        timed_steps=len(times),
        load=load,
        device=device_name(device),
        how=_how(len(times), config, second, device),
    )


def _asked(config: RunConfig, term: str) -> bool:
    return term in config.method.terms(config.terms, (term,))


def _how(timed: int, config: RunConfig, fit: _Fit, device: torch.device) -> str:
    text = f"{timed} training step{'s' * (timed != 1)} of {config.batch_size} random examples were timed"
    text = text if config.method.trains else "nothing is trained"
    text += f", {fit.evaluated} examples evaluated" if fit.evaluation_seconds is not None and fit.evaluated else ""
    text += f", the Fisher information of {fit.scored} measured" if fit.scored else ""
    where = "of the GPU" if device.type == "cuda" else "of the process"
    return f"{text}; the memory is the most {where} during that, with the longest examples in one batch"


def _steps_to_time(cold: float) -> int:
    """Number of steps that fit into the time, the first of which is not counted; at least one more."""
    return 1 + max(1, min(MAX_STEPS, int(TIMED_SECONDS / max(cold, 1e-3))))


def _few_to_time(first: _Fit) -> int:
    """Number of validation prompts to evaluate, which may be long: as many as fit into the time."""
    if not first.evaluation_seconds or not first.evaluated:
        return EVALUATED
    return max(8, min(EVALUATED, int(TIMED_SECONDS * first.evaluated / first.evaluation_seconds)))


def _longest(examples: Examples, count: int) -> Examples:
    """Select the examples with the longest texts."""
    pairs = examples.text_pair or [""] * len(examples)
    lengths = [len(text) + len(pair) for text, pair in zip(examples.text, pairs, strict=True)]
    return examples.take(np.argsort(lengths, kind="stable")[-count:])


def _draw(examples: Examples, count: int, salt: int) -> Examples:
    """Draw up to `count` examples without repetition."""
    return examples.take(np.random.default_rng([7, salt]).permutation(len(examples))[:count])


@contextmanager
def _timed(took: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    took[name] = time.perf_counter() - began
