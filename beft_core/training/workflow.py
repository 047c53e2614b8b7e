"""Whole jobs, as the command line, the worker and notebooks call them: train, select, evaluate."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from beft_core import __version__, environment
from beft_core.architectures.certified import certified
from beft_core.architectures.layout import BiasSlot
from beft_core.config import PER_RUN, RunConfig
from beft_core.errors import UserError
from beft_core.merging.config import recorded
from beft_core.merging.merge import has_tuned_fisher
from beft_core.methods import ONE_BY_ONE, method_of
from beft_core.models import biases
from beft_core.models import load as models
from beft_core.models.biases import LoadedModel, restored, write_biases
from beft_core.models.null_certificate import null_certificate, null_elements
from beft_core.models.source import BUNDLED
from beft_core.presets import INPUTS, chosen
from beft_core.scores.approaches import PAPER
from beft_core.scores.table import ScoreTable, score_snapshot
from beft_core.snapshots.null_elements import mask_of, ranges_of
from beft_core.snapshots.snapshot import Snapshot, SnapshotMeta
from beft_core.tasks.examples import Examples, TaskData, subsample
from beft_core.tasks.load import load_files, load_task
from beft_core.tasks.registry import get_task
from beft_core.terms import TERM_KEYS
from beft_core.training.acceleration.session import session_for
from beft_core.training.batches.encoded import Encoded, encode
from beft_core.training.batches.reader import Reader
from beft_core.training.fisher.information import FisherInformation, fisher_information
from beft_core.training.fisher.tuned import tuned_fisher
from beft_core.training.job import Job, Outcome
from beft_core.training.methods.base import Weights, method_for
from beft_core.training.methods.bias_bank import Bank, is_slot, slot_name
from beft_core.training.objectives.base import Metrics, Objective
from beft_core.training.objectives.registry import objective_of
from beft_core.training.observer import Observer
from beft_core.training.precision import Precision, pick_device
from beft_core.training.predict import Predictor
from beft_core.training.progress.checkpoint import Checkpoint, held
from beft_core.training.trainer import Trainer


@dataclass(frozen=True)
class Selection:
    """What the paper's method gives for a model and a task."""

    snapshot: Snapshot
    """The probe: an all-bias fine-tune with the Fisher information measured before it."""
    scores: ScoreTable
    selected: dict[str, str | None]
    """Approach -> the term that it selects among q, k and v."""
    trained: Snapshot | None = None
    """The fine-tune of the term that the projection ratio selects, where it was asked for."""


@dataclass(frozen=True)
class Trained:
    """What one fine-tune of a bank left."""

    snapshot: Snapshot
    failure: str | None = None
    """Why it was taken out of the bank, if it was: its snapshot is then what it had before."""
    stopped: bool = False
    """Whether it was stopped before its last step."""

    def sound(self) -> Snapshot:
        """The snapshot. Raises FloatingPointError for a run that failed."""
        if self.failure is not None:
            raise FloatingPointError(self.failure)
        return self.snapshot


def load_data(config: RunConfig) -> TaskData:
    """The task of a run: one of the registry, or the user's own files."""
    if config.train_file is not None:
        assert config.text is not None and config.label is not None
        return load_files(
            config.train_file,
            config.eval_file,
            text=config.text,
            text_pair=config.text_pair,
            label=config.label,
        )
    return load_task(config.task, folder=config.data_dir, inputs=config.inputs or "lab")


def train(config: RunConfig, observer: Observer | None = None, checkpoint: Path | None = None) -> Snapshot:
    """One fine-tune, from its configuration to its snapshot.

    ``checkpoint``: a file to save the state in every few seconds; where it exists, the run goes on from it and ends
    with the same bytes on a CPU as a run that was never interrupted. It stays: remove it once the snapshot is safe.
    One fine-tune at a time may have it.

    Raises UserError for everything that a user can put right, FloatingPointError when the loss was never finite.
    """
    with held(checkpoint):
        return train_bank([config], observer, checkpoint)[0].sound()


def train_bank(
    configs: Sequence[RunConfig], observer: Observer | None = None, checkpoint: Path | None = None
) -> list[Trained]:
    """Several fine-tunes of one model on one task in one pass; they may differ in all that :data:`PER_RUN` names.

    A run whose loss is not finite is told as its ``failure`` and leaves the others alone.
    """
    observer = observer or Observer()
    configs = [config.resolved() for config in configs]
    first = configs[0]
    for config in configs[1:]:
        differ = [f.name for f in dataclasses.fields(config) if getattr(config, f.name) != getattr(first, f.name)]
        if not set(differ) <= PER_RUN:
            raise UserError(
                f"got runs that differ in {', '.join(sorted(set(differ) - PER_RUN))}",
                f"runs of one bank that differ only in {', '.join(sorted(PER_RUN))}",
            )
    if len(configs) > 1 and not first.method.shares_pass:
        raise UserError(f"got {len(configs)} runs of mode {first.mode}", "one: only bias runs share a model")

    observer.stage("load data")
    data = load_data(first)
    observer.stage("load model")
    model = load(first)
    # What a preset makes of the model's size is known by now, also of a model that had to be downloaded.
    configs = [config.resolved(model.layout) for config in configs]
    first = configs[0]
    samples = {_drawn(config): sample(config, data.train) for config in configs}
    observer.stage("tokenise", sum(map(len, samples.values())) + sum(map(len, data.evals.values())))
    tokenise = partial(encode, model.tokenizer, max_length=first.max_length, observer=observer)
    encoded = {drawn: tokenise(sample) for drawn, sample in samples.items()}
    trained = fit_bank(
        model,
        data,
        configs,
        trains=[encoded[_drawn(config)] for config in configs],
        evals={n: tokenise(e) for n, e in data.evals.items()} if first.evaluate != "never" else {},
        observer=observer,
        checkpoint=checkpoint,
    )
    if any(config.fisher_tuned for config in configs):
        model = load(first)  # its weights may have been rounded for the fine-tune
        for run, config in enumerate(configs):
            if config.fisher_tuned and trained[run].failure is None:
                measured = measure_tuned_fisher(
                    trained[run].snapshot, model, data, encoded[_drawn(config)], config, observer
                )
                trained[run] = dataclasses.replace(trained[run], snapshot=measured)
    return trained


def fit_bank(
    model: LoadedModel,
    data: TaskData,
    configs: Sequence[RunConfig],
    *,
    trains: Sequence[Encoded],
    evals: Mapping[str, Encoded],
    observer: Observer | None = None,
    checkpoint: Path | None = None,
) -> list[Trained]:
    """The part of :func:`train_bank` after loading: resolved ``configs``, tokenised examples per run."""
    observer = observer or Observer()
    first = configs[0]
    observer.stage("certify null terms")
    reports = null_certificate(model)
    null = tuple(term for term, report in reports.items() if report.null)
    elements = null_elements(reports)
    device = pick_device(first.device)
    precision = Precision(first.precision, device, frozen=not first.method.changes_weights)
    before = biases.biases(model)
    total = sum(p.numel() for p in model.backbone.parameters())
    model.backbone.to(device)
    told: set[tuple[str, tuple[str, ...]]] = set()  # what is said of one run is not said again of the next
    chosen = []
    for config in configs:
        what = config.mode, config.terms
        chosen.append(trained_slots(config, model, null, None if what in told else observer, elements))
        told.add(what)
    objective = objective_of(data.spec)
    methods = [method_for(config) for config in configs]
    union = [slot for slot in model.layout.slots if any(slot in slots for slots in chosen)]
    pad = _padding(first, model, device, len(configs))
    session = session_for(
        model,
        precision,
        plain=first.plain,
        pad=pad,
        trains_weights=first.method.changes_weights,
        compile=first.compile,
        tell=observer.message,
    )
    bank = Bank(
        model,
        union,
        runs=len(configs),
        classes=objective.outputs,
        precision=precision,
        pooler_bias=methods[0].pooler_in_bank,
        outside_biases=any(method.outside_biases for method in methods),
        reader=session.reader,
    )
    for run, config in enumerate(configs):
        bank.init_head(run, config.seed)
    information = _measure_fisher(configs, model, bank, objective, trains, precision, observer, session.reader)
    precision.prepare(model.backbone)
    weights = methods[0].weights(model)

    jobs = [
        Job(
            config,
            encoded,
            {slot_name(slot) for slot in slots} | method.parts(bank),
            {} if config.train_null else {slot_name(s): elements[s.term] for s in slots if s.term in elements},
        )
        for config, method, encoded, slots in zip(configs, methods, trains, chosen, strict=True)
    ]
    trainer = Trainer(
        bank,
        jobs,
        evals=evals,
        metrics=metrics_of(data),
        objective=objective,
        pad=pad,
        session=session,
        weights=weights,
        checkpoint=_checkpoint(checkpoint, _identity(configs, model, trains)),
        observer=observer,
    )
    outcomes = trainer.fit()
    seconds = trainer.record.progress.seconds
    observer.stage("collect")
    after = biases.biases(model) if first.method.changes_weights else before
    trained = []
    for run, (job, outcome, slots) in enumerate(zip(jobs, outcomes, chosen, strict=True)):
        post = {key: value.copy() for key, value in after.items()}
        for slot in slots:
            post[slot.stack, slot.term][slot.layer] = bank.value(slot_name(slot), run)
        steps = _trajectory(outcome, slots, before)
        measured = information[run]
        if measured is not None and not job.config.train_null:
            measured = measured.without(elements)
        snapshot = Snapshot.build(
            _meta(job, outcome, model, data, null, elements, slots, bank, weights, total, seconds),
            pre=before,
            post=post,
            fisher=measured.exact if measured else {},
            fisher_batch=measured.batch if measured else {},
            steps=steps,
            trajectory_step=np.array(outcome.trajectory_steps) if steps else None,
            extra=_extra(data.spec.name, bank, run, job.owned),
        )
        trained.append(Trained(snapshot, outcome.failure, outcome.stopped))
    return trained


def select(
    config: RunConfig,
    observer: Observer | None = None,
    checkpoint: Path | None = None,
    then_train: bool = False,
) -> Selection:
    """The paper's method: fine-tune all bias terms, score them, select one; train it alone if asked.

    The probe takes every setting of ``config`` except what it trains.
    """
    probe = train(config.probe(), observer, checkpoint)
    scores = score_snapshot(probe)
    selected = scores.selected()
    trained = None
    winner = selected[PAPER]
    if then_train and winner is not None:
        trained = train(dataclasses.replace(config, mode=ONE_BY_ONE, terms=(winner,), fisher=False), observer)
    return Selection(probe, scores, selected, trained)


def evaluate(
    snapshot: Snapshot,
    config: RunConfig,
    *,
    biases: str = "post",
    observer: Observer | None = None,
) -> dict[str, float]:
    """Put a snapshot (or a merge) back on its base model and score it on the task of ``config``.

    ``biases``: ``post`` or ``pre`` (the base model under the snapshot's head). The snapshot must hold a head for the
    task. ``config`` names the model only where the snapshot's own cannot be found under its id.

    Raises UserError when the base model differs, the task has no head, or weights were trained too.
    """
    observer = observer or Observer()
    refuse_changed_weights(snapshot)
    observer.stage("load data")
    task = get_task(config.task).name if config.train_file is None else ""
    data = load_data(dataclasses.replace(config, inputs=inputs_of(snapshot, task)))
    head = head_of(snapshot, data.spec.name)
    observer.stage("load model")
    model = load_base(snapshot, config)
    get = snapshot.post if biases == "post" else snapshot.pre
    write_biases(model, {key: get(*key) for key in snapshot.keys()})  # noqa: SIM118
    examples = sum(map(len, data.evals.values()))
    observer.stage("tokenise", examples)
    precision = Precision(config.precision, pick_device(config.device))
    precision.prepare(model.backbone.to(precision.device))
    score = scorer(model, head, data, data.evals, config.max_length, precision, observer)
    observer.stage("evaluate", examples)
    return score()


def measure_tuned_fisher(
    snapshot: Snapshot,
    model: LoadedModel,
    data: TaskData,
    examples: Encoded,
    config: RunConfig,
    observer: Observer | None = None,
) -> Snapshot:
    """The snapshot with the Fisher information of its trained terms at the fine-tuned model, over ``examples``.

    ``model``: its base, as loaded; it is the same afterwards. The first ``config.fisher_examples`` count, if that is
    given. Raises UserError when the snapshot trained no bias term, or weights too, or has no head for the task.
    """
    observer = observer or Observer()
    refuse_changed_weights(snapshot)
    head = head_of(snapshot, data.spec.name)
    meta = snapshot.meta
    slots = [
        slot
        for slot in model.layout.slots
        if slot.term in meta.trained_terms and (meta.layers is None or slot.layer in meta.layers)
    ]
    if not slots:
        raise UserError(f"got {snapshot.source}, which trained no bias term", "a fine-tune of a term that is not null")
    if config.fisher_examples is not None:
        examples = examples.take(range(min(config.fisher_examples, len(examples))))
    objective = objective_of(data.spec)
    passes = len(objective.expectations())
    observer.stage("measure Fisher information of the tuned model", passes * len(examples))
    exact = Precision("float32", pick_device(config.device))
    model.backbone.to(exact.device)
    with restored(model):
        write_biases(model, {key: snapshot.post(*key) for key in snapshot.keys()})  # noqa: SIM118
        bank = Bank(model, [], runs=1, classes=objective.outputs, precision=exact, outside_biases=True)
        _put_extra(head, bank)
        parts = {name: bank.value(name) for name in bank.parts}
        reader = session_for(model, exact, plain=config.plain).reader
        found = tuned_fisher(model, slots, examples, parts, objective, exact, observer, reader)
    measured = {key: np.zeros_like(snapshot.post(*key)) for key in found}
    at = {key: [slot.layer for slot in slots if (slot.stack, slot.term) == key] for key in found}
    for key, values in found.items():
        measured[key][at[key]] = values
        ranges = certified(meta).elements.get(key[1], ())
        if not config.train_null:
            measured[key][:, mask_of(ranges, measured[key].shape[1])] = 0
    return snapshot.with_fisher_tuned(measured)


def with_tuned_fisher(
    snapshots: Sequence[Snapshot], config: RunConfig | None = None, observer: Observer | None = None
) -> list[Snapshot]:
    """Snapshots with the Fisher information at their fine-tuned models; where it is missing, it is measured.

    That takes the base model, and the task's data, of which the same training examples are drawn. ``config`` says where
    they are and where to compute. Raises UserError where one of them cannot be had.
    """
    observer = observer or Observer()
    return [one if has_tuned_fisher(one) else _tuned(one, config or RunConfig(), observer) for one in snapshots]


def _tuned(snapshot: Snapshot, config: RunConfig, observer: Observer) -> Snapshot:
    meta = snapshot.meta
    try:
        hyper, fields = meta.hyperparameters, recorded([snapshot])
        if config.model != BUNDLED:
            fields["model"] = config.model
        run = dataclasses.replace(
            config,
            **fields,
            task=meta.task,
            n_train=meta.n_train,
            regime=None if meta.n_train is not None else "all",
            seed=meta.seed or 0,
            train_null=hyper.get("train_null") is True,
            sampler=hyper["sampler"] if isinstance(hyper.get("sampler"), str) else None,
            inputs=inputs_of(snapshot, meta.task),
        )
        observer.stage("load data")
        data = load_data(run)
        drawn = sample(run, data.train)
        observer.stage("load model")
        model = load_base(snapshot, run)
        observer.stage("tokenise", len(drawn))
        return measure_tuned_fisher(
            snapshot, model, data, encode(model.tokenizer, drawn, run.max_length, observer), run, observer
        )
    except UserError as error:
        raise UserError(
            f"{snapshot.source} has no Fisher information at the fine-tuned model, and it cannot be measured here:"
            f" {error.got}",
            error.expected,
            "that, beft train --fisher-tuned, or another method",
        ) from None


def refuse_changed_weights(snapshot: Snapshot) -> None:
    """Raises UserError where a snapshot's biases are not all that the fine-tune changed."""
    if method_of(snapshot.meta.mode).changes_weights:
        raise UserError(
            f"got a snapshot of mode {snapshot.meta.mode}, whose weights changed too",
            "one of a fine-tune of biases, since a snapshot holds nothing else",
        )


def head_of(snapshot: Snapshot, task: str) -> dict[str, np.ndarray]:
    """Part -> value of what a snapshot keeps for a task besides its bias terms. Raises UserError without a head."""
    prefix = f"extra.{task}."
    head = {name.removeprefix(prefix): value for name, value in snapshot.extra.items() if name.startswith(prefix)}
    if "head.weight" not in head:
        have = sorted(snapshot.meta.heads) or ["none"]
        raise UserError(f"got a snapshot without a head for {task}", f"one of its tasks: {', '.join(have)}")
    return head


def inputs_of(snapshot: Snapshot, task: str) -> str:
    """Which columns the head of a task was trained on: a key of :data:`INPUTS`."""
    recorded = snapshot.meta.heads.get(task, {}).get("inputs")
    return recorded if isinstance(recorded, str) and recorded in INPUTS else "lab"


def load_base(snapshot: Snapshot, config: RunConfig) -> LoadedModel:
    """The model of ``config``. Raises UserError unless it is the one that the snapshot started from."""
    model = load(config)
    if model.info.fingerprint != snapshot.meta.model.fingerprint:
        raise UserError(
            f"got the base model {config.model}, whose biases differ from those the snapshot started from",
            snapshot.meta.model.id,
            f"--model {snapshot.meta.model.id}",
        )
    return model


def scorer(
    model: LoadedModel,
    head: Mapping[str, np.ndarray],
    data: TaskData,
    examples: Mapping[str, Examples],
    max_length: int,
    precision: Precision,
    observer: Observer,
) -> Callable[[], dict[str, float]]:
    """Tokenises validation sets once; each call scores the model, as its bias terms are then, under a task's head."""
    evals = {name: encode(model.tokenizer, part, max_length, observer) for name, part in examples.items()}
    session = session_for(model, precision)
    bank = Bank(
        model,
        [],
        runs=1,
        classes=objective_of(data.spec).outputs,
        precision=precision,
        outside_biases="outside.bias" in head,
        reader=session.reader,
    )
    _put_extra(head, bank)
    predictor = Predictor(bank, evals, metrics_of(data), session, observer.advance)

    def score() -> dict[str, float]:
        with bank.installed():
            return predictor.evaluate()

    return score


def load(config: RunConfig) -> LoadedModel:
    """The base model of a run, with the zero biases that it asks for."""
    model = models.load_model(config.model)
    for term in config.add_bias:
        biases.add_zero_bias(model, term)
    if model.tokenizer is None:
        raise UserError(f"got {config.model}, which has no tokenizer", "a language model, because the tasks are texts")
    return model


def metrics_of(data: TaskData) -> dict[str, Metrics]:
    """For each validation set, the task's metrics; with several sets their names get the set's name."""

    objective = objective_of(data.spec)

    def compute(suffix: str, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        values = objective.metrics(data.spec.metrics, logits, labels)
        return {f"{name}{suffix}": value for name, value in values.items()}

    many = len(data.evals) > 1
    return {name: partial(compute, f"_{name}" if many else "") for name in data.evals}


def primary_metric(data: TaskData) -> str:
    """Name, in the tables of :func:`metrics_of`, of the metric that counts."""
    many = len(data.evals) > 1
    return data.spec.metrics[0] + (f"_{next(iter(data.evals))}" if many else "")


def _extra(task: str, bank: Bank, run: int, owned: set[str]) -> dict[str, np.ndarray]:
    """What a snapshot keeps besides the bias terms, so that the run can be evaluated again."""
    values = {name: bank.value(name, run) for name in bank.parts if name in owned and not is_slot(name)}
    outside = [values.pop(name) for name in list(values) if name.startswith("outside.")]
    if outside:
        values["outside.bias"] = np.concatenate(outside)
    return {f"extra.{task}.{name}": value for name, value in values.items()}


def _put_extra(values: Mapping[str, np.ndarray], bank: Bank) -> None:
    """The inverse of :func:`_extra` on a bank of one. Raises UserError for tensors that do not fit the model."""
    values = dict(values)
    outside = [name for name in bank.parts if name.startswith("outside.")]
    joined = values.pop("outside.bias", None)
    if joined is not None:
        ends = np.cumsum([bank.parts[name].size for name in outside])
        if len(joined) != ends[-1]:
            raise UserError(f"got {len(joined)} biases outside of the layers", f"{ends[-1]}, as this model has")
        values |= dict(zip(outside, np.split(joined, ends[:-1]), strict=True))
    lost = [name for name in bank.parts if name.startswith("head.") and name not in values]
    if lost:
        have = ", ".join(name for name in values if name.startswith("head.")) or "none"
        raise UserError(
            f"got a head without {lost[0]} (its tensors: {have})",
            f"the head of transformers' {bank.model.layout.model_type} classifier",
            "training it again, if an earlier release of the lab made the snapshot",
        )
    for name, value in values.items():
        if name not in bank.parts or value.shape != bank.parts[name].shape:
            expected = bank.parts[name].shape if name in bank.parts else f"one of {', '.join(bank.parts)}"
            named = "task" if name in ("head.weight", "head.bias") else "model"
            raise UserError(f"got {name} of shape {value.shape}", f"{expected}", f"the {named} that the snapshot names")
        bank.set_value(name, value)


def trained_slots(
    config: RunConfig,
    model: LoadedModel,
    null: Sequence[str],
    observer: Observer | None = None,
    elements: Mapping[str, np.ndarray] | None = None,
) -> list[BiasSlot]:
    """The bias slots that a run trains: its terms (all, for an all-bias run), its layers, without null terms.

    ``elements``: certified null elements (term -> bool [width]), of which the observer is told too.

    Raises UserError for terms or layers that the model does not have.
    """
    if not config.method.trains_terms:
        return []
    layout = model.layout
    wanted = config.method.terms(config.terms, layout.terms)
    layout.require(wanted)
    if config.layers is not None and max(config.layers) >= layout.layers:
        raise UserError(f"got layer {max(config.layers)}", f"0 to {layout.layers - 1}, the layers of this model")
    frozen = () if config.train_null else tuple(term for term in wanted if term in null)
    if frozen and observer is not None:
        observer.message(
            f"{', '.join(frozen)} is certified null in this model (it cannot change any output) and stays frozen; "
            "--train-null trains it all the same"
        )
    for term, mask in (elements or {}).items():
        if term in wanted and not mask.all() and not config.train_null and observer is not None:
            said = f"{mask.sum()} of {len(mask)} elements of {term} in each layer are certified null in this model"
            observer.message(f"{said} and stay frozen; --train-null trains them all the same")
    return [
        slot
        for slot in layout.slots
        if slot.term in wanted and slot.term not in frozen and (config.layers is None or slot.layer in config.layers)
    ]


def _padding(config: RunConfig, model: LoadedModel, device: torch.device, runs: int) -> str:
    if config.pad == "auto":
        if device.type == "cuda" and runs == 1:
            # One small batch leaves a GPU idle, packed or not. Padded to the longest it has few shapes, and each is
            # recorded (see replay.py); and where operations are launched one by one, a prepared mask only adds to them:
            # on an H200, BERT-base's shape and batch 16, 13.9 ms per step padded to the longest, 18.1 ms packed.
            return "longest"
        return "packed" if model.layout.packing else "buckets"
    if config.pad == "packed" and not model.layout.packing:
        raise UserError(f"got --pad packed for {model.layout.model_type}", "buckets, longest, max or auto")
    return config.pad


def sample(config: RunConfig, train: Examples) -> Examples:
    """The training examples of a resolved configuration. Raises UserError where there are fewer."""
    return subsample(train, config.n_train, config.seed, config.sampler or "generator")


_Drawn = tuple[int | None, int, str | None]


def _drawn(config: RunConfig) -> _Drawn:
    """What the training examples of a run depend on: runs that agree in it share them."""
    return config.n_train, config.seed, config.sampler


def _measure_fisher(
    configs: Sequence[RunConfig],
    model: LoadedModel,
    bank: Bank,
    objective: Objective,
    trains: Sequence[Encoded],
    precision: Precision,
    observer: Observer,
    reader: Reader,
) -> list[FisherInformation | None]:
    """Of each run that wants it. It depends on examples and head alone, so runs of other rates and terms share it."""
    wanted: dict[tuple[_Drawn, int | None], int] = {}
    for run, config in enumerate(configs):
        if config.fisher:
            wanted.setdefault((_drawn(config), config.fisher_examples), run)
    if not wanted:
        return [None] * len(configs)
    examples = {
        key: trains[run] if key[-1] is None else trains[run].take(range(min(key[-1], len(trains[run]))))
        for key, run in wanted.items()
    }
    observer.stage("measure Fisher information", sum(map(len, examples.values())))
    # In float32 always: squared gradients of bfloat16 products lose the small terms.
    exact = Precision("float32", precision.device)
    measured = {}
    for key, run in wanted.items():
        head = {name: bank.value(name, run) for name in bank.parts if name.startswith("head.")}
        measured[key] = fisher_information(
            model, model.layout.slots, examples[key], head, objective.log_likelihood, exact, observer, reader
        )
    return [measured[_drawn(config), config.fisher_examples] if config.fisher else None for config in configs]


def _trajectory(
    outcome: Outcome, slots: Sequence[BiasSlot], before: Mapping[tuple[str, str], np.ndarray]
) -> dict[tuple[str, str], np.ndarray]:
    """(stack, term) -> [checkpoints, layers, width]; layers that were not trained keep their value."""
    count = len(outcome.trajectory_steps)
    steps: dict[tuple[str, str], np.ndarray] = {}
    for slot in slots:
        values = outcome.trajectory.get(slot_name(slot))
        if values is not None:
            key = slot.stack, slot.term
            steps.setdefault(key, np.repeat(before[key][None], count, axis=0))[:, slot.layer] = values
    return steps


def _meta(
    job: Job,
    outcome: Outcome,
    model: LoadedModel,
    data: TaskData,
    null: Sequence[str],
    elements: Mapping[str, np.ndarray],
    slots: Sequence[BiasSlot],
    bank: Bank,
    weights: Weights,
    total: int,
    seconds: float,
) -> SnapshotMeta:
    config = job.config
    method = method_for(config)
    terms = method.changed_terms(slots, model.layout)
    counted = method.counted({slot_name(slot) for slot in slots}, job.owned)
    trained = sum(bank.parts[name].size for name in counted) + weights.count
    trained -= sum(int(mask.sum()) for mask in job.frozen.values())
    kept = (
        "lr",
        "epochs",
        "schedule",
        "batch_size",
        "max_length",
        "dropout",
        "weight_decay",
        "clip",
        "adam_epsilon",
        "adam_epsilon_at",
        "precision",
        "preset",
        "sampler",
        "inputs",
        "pad",
        "train_null",
        "add_bias",
    )
    hyper: dict[str, Any] = {name: config.to_dict()[name] for name in kept}
    if config.plain:
        hyper["plain"] = True
    hyper |= {"optimizer": "AdamW", "steps": outcome.steps, "stopped_early": outcome.stopped}
    spec = data.spec
    return SnapshotMeta(
        model=model.info,
        task=spec.name,
        regime=config.regime,
        n_train=len(job.train),
        mode=config.mode,
        trained_terms=tuple(term for term in TERM_KEYS if term in terms),
        layers=config.layers,
        hyperparameters=hyper,
        seed=config.seed,
        metric=primary_metric(data),
        metrics=tuple(outcome.history),
        null_terms=tuple(null),
        null_elements={term: ranges_of(mask) for term, mask in elements.items() if not mask.all()},
        trained_parameters=trained,
        total_parameters=total,
        versions=software_versions(),
        device=device_name(bank.precision.device),
        wall_seconds=round(seconds, 3) if config.record_wall_seconds else None,
        heads={spec.name: {**objective_of(spec).head(), "inputs": config.inputs}},
        provenance={"data": data.source} if config.train_file is None else {"data": "the user's own table"},
    )


def software_versions() -> dict[str, str]:
    """Versions of what computes a result."""
    libraries = {name: version(name) for name in ("torch", "transformers", "numpy")}
    return {"beft-lab": __version__, "python": platform.python_version(), **libraries}


def device_name(device: torch.device) -> str:
    """Words for a device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _checkpoint(path: Path | None, identity: str) -> Checkpoint | None:
    if path is None:
        return None
    return Checkpoint(path, identity, environment.number("BEFT_CHECKPOINT_SECONDS", 5.0))


def _identity(configs: Sequence[RunConfig], model: LoadedModel, trains: Sequence[Encoded]) -> str:
    """What must be equal for a checkpoint to be resumed: settings, model, examples, software."""
    digest = hashlib.sha256()
    digest.update(json.dumps([chosen(config.to_dict()) for config in configs], sort_keys=True).encode())
    digest.update(model.info.fingerprint.encode())
    digest.update(json.dumps(software_versions(), sort_keys=True).encode())
    for encoded in trains:
        for row in encoded.ids:
            digest.update(row.tobytes())
        digest.update(encoded.labels.tobytes())
    return digest.hexdigest()
