"""Workflows of whole jobs, as the command line, the worker and notebooks call them: one fine-tune, a bank of them, the
selection.

Scoring what they leave is :mod:`beft_core.training.evaluate`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from beft_core.config import PER_RUN, RunConfig, differing
from beft_core.errors import UserError
from beft_core.methods import METHODS, ONE_BY_ONE
from beft_core.models.biases import LoadedModel, biases
from beft_core.models.placement import is_spread
from beft_core.scores.approaches import PAPER
from beft_core.scores.table import ScoreTable, score_snapshot
from beft_core.scores.verdict import Verdict
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.examples import TaskData
from beft_core.tasks.predictions import predictions_of
from beft_core.terms import CANDIDATES
from beft_core.training import inputs
from beft_core.training.acceleration.session import session_for
from beft_core.training.batches.encoded import Encoded
from beft_core.training.batches.padding import padding_for
from beft_core.training.evaluate import evaluate as evaluate  # notebooks import it from here, too
from beft_core.training.fisher.of_parameters import squared_gradients
from beft_core.training.fisher.of_runs import fisher_of_runs
from beft_core.training.fisher.of_snapshots import measure_tuned_fisher
from beft_core.training.inputs import primary_metric
from beft_core.training.job import Job
from beft_core.training.methods.base import method_for
from beft_core.training.methods.bias_bank import Bank, slot_name
from beft_core.training.methods.trained_slots import trained_slots
from beft_core.training.objectives.base import Objective
from beft_core.training.objectives.registry import objective_of
from beft_core.training.observer import Observer
from beft_core.training.precision import Precision, pick_device
from beft_core.training.preconditions import require_something_to_train, stands_alone
from beft_core.training.progress.checkpoint import held
from beft_core.training.progress.identity import checkpoint_for
from beft_core.training.result import Start, snapshot_of
from beft_core.training.scores.output_change import with_output_change
from beft_core.training.trainer import Trainer

FISH_EXAMPLES = 128
"""Number of training examples by which FISH mask chooses, unless ``fisher_examples`` says another."""


@dataclass(frozen=True)
class Selection:
    """Result of the paper's method for a model and a task."""

    snapshot: Snapshot
    """Snapshot of the probe: an all-bias fine-tune with the Fisher information measured before it."""
    scores: ScoreTable
    selected: dict[str, str | None]
    """Term among q, k and v that each approach selects, by approach; None where it selects none."""
    trained: Snapshot | None = None
    """Snapshot of the fine-tune of the term that the projection ratio selects, where it was asked for."""


@dataclass(frozen=True)
class Trained:
    """Result of one fine-tune of a bank."""

    snapshot: Snapshot
    failure: str | None = None
    """Reason why the run was taken out of the bank, if it was: the snapshot is then what it had before."""
    stopped: bool = False
    """Whether the run was stopped before its last step."""
    logits: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Logits of the last epoch by validation set, float32 [examples, outputs]; empty where it was not scored here."""

    def sound(self) -> Snapshot:
        """Return the snapshot.

        Raises:
            FloatingPointError: the run failed.
        """
        if self.failure is not None:
            raise FloatingPointError(self.failure)
        return self.snapshot


def train(
    config: RunConfig,
    observer: Observer | None = None,
    checkpoint: Path | None = None,
    *,
    data: TaskData | None = None,
    base: inputs.Base | None = None,
) -> Snapshot:
    """Fine-tune once, from the configuration to the snapshot.

    ``checkpoint``: a file to save the state in every few seconds; where it exists, the run goes on from it and ends
    with the same bytes on a CPU as a run that was never interrupted. It stays: remove it once the snapshot is safe.
    One fine-tune at a time may have it. ``data``, ``base``: see :func:`train_bank`.

    Raises:
        UserError: everything that a user can put right.
        FloatingPointError: the loss was not finite.
    """
    with held(checkpoint):
        return train_bank([config], observer, checkpoint, data=data, base=base)[0].sound()


def train_bank(
    configs: Sequence[RunConfig],
    observer: Observer | None = None,
    checkpoint: Path | None = None,
    *,
    data: TaskData | None = None,
    base: inputs.Base | None = None,
) -> list[Trained]:
    """Fine-tune one model on one task several times in one pass; the runs may differ in all that :data:`PER_RUN` names,
    those of an adapter not in the method and its layers.

    Where one of them can share no pass with others, the model trains them one after the other, without a checkpoint.

    ``data``, ``base``: examples and a base model that are in memory already, instead of those that the configurations
    name. A run whose loss is not finite is reported as its ``failure`` and leaves the others alone.

    Raises:
        UserError: runs that cannot share a bank, and everything else that a user can put right.
    """
    observer = observer or Observer()
    configs = [config.resolved() for config in configs]
    first = configs[0]
    for config in configs[1:]:
        if alone := [one.mode for one in (first, config) if not one.method.shares_pass]:
            together = ", ".join(name for name, row in METHODS.items() if row.shares_pass)
            raise UserError(
                f"got {len(configs)} runs, one of mode {alone[0]}, which shares no model", f"runs of {together}"
            )
        if differ := differing(first, config):
            raise UserError(
                f"got runs that differ in {', '.join(differ)}",
                f"runs of one bank that differ only in {', '.join(sorted(PER_RUN - set(first.method.alike)))}",
            )

    observer.stage("load data")
    data = inputs.load_data(first) if data is None else inputs.validated(first, data)
    observer.stage("load model")
    model = inputs.load(first, base, inputs.placement_for(configs))
    # What a preset makes of the model's size is known by now, also of a model that had to be downloaded.
    configs = [config.resolved(model.layout) for config in configs]
    first = configs[0]
    draws = {inputs.drawn(config): inputs.draw_of(config, data.train) for config in configs}
    wanted = np.unique(np.concatenate(list(draws.values())))
    scored = data.evals if first.evaluate != "never" else {}
    observer.stage("tokenise", len(wanted) + sum(map(len, scored.values())))
    tokenise = partial(objective_of(data.spec).encode, model, max_length=first.max_length, observer=observer)
    # Each example once: ten draws of 5,000 of 5,749 have most of them in common.
    table = tokenise(data.train.take(wanted), training=True)
    encoded = {drawn: table.take(np.searchsorted(wanted, draw)) for drawn, draw in draws.items()}
    evals = {name: tokenise(part) for name, part in scored.items()}
    apart = any(stands_alone(config, model.layout) for config in configs)
    trained: list[Trained] = []
    for some in [[config] for config in configs] if apart else [configs]:
        trained += fit_bank(
            model,
            data,
            some,
            trains=[encoded[inputs.drawn(config)] for config in some],
            evals=evals,
            observer=observer,
            checkpoint=checkpoint if len(some) == len(configs) else None,
        )
    for run, one in enumerate(trained):
        if one.logits and one.failure is None and not one.stopped:
            sets = [(name, data.evals[name], logits) for name, logits in one.logits.items()]
            observer.predicted(predictions_of(data.spec.name, sets), run)
    if any(config.fisher_tuned for config in configs):
        del model, tokenise  # before it is read again, because its weights may have been rounded for the fine-tune
        model = inputs.load(first, base, inputs.placement_for(configs, exact=True))
        for run, config in enumerate(configs):
            if config.fisher_tuned and trained[run].failure is None:
                measured = measure_tuned_fisher(
                    trained[run].snapshot, model, data, encoded[inputs.drawn(config)], config, observer
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
    """Fine-tune a loaded model: the part of :func:`train_bank` after loading.

    ``configs``: resolved; ``trains``: the tokenised examples of each run; ``evals``: validation sets by name.
    """
    observer = observer or Observer()
    first = configs[0]
    observer.stage("certify null terms")
    start = Start.of(model, data)
    device = pick_device(first.device)
    precision = Precision(first.precision, device, frozen=not first.method.changes_weights)
    if not any(config.fisher for config in configs):  # which is measured in float32, before weights are rounded
        precision.prepare(model.backbone)  # here already: the device then never holds them in float32
    if is_spread(model.backbone):
        observer.message("no GPU can hold this model alone: its layers are spread over several, which take turns")
    else:
        model.backbone.to(device)
    reported: set[tuple[str, tuple[str, ...]]] = set()  # what is said of one run is not said again of the next
    chosen = []
    for config in configs:
        what = config.mode, config.terms
        chosen.append(trained_slots(config, model, start.null, None if what in reported else observer, start.elements))
        reported.add(what)
    observer.message(data.in_words(map(len, trains)))
    objective = objective_of(data.spec)
    for config in configs:
        require_something_to_train(config, data.spec)
    methods = [method_for(config) for config in configs]
    several = len(configs) > 1
    union = [slot for slot in model.layout.slots if any(slot in slots for slots in chosen)]
    pad = padding_for(first, model, device, len(configs))
    session = session_for(
        model,
        precision,
        # On a CPU prompts have nothing to gain but another dropout, and of vectors before the text the tricks know
        # nothing.
        plain=first.plain or first.method.before_text or (objective.head_outputs is None and device.type == "cpu"),
        pad=pad,
        trains_weights=first.method.beyond_biases and not several,
        compile=first.compile,
        recompute=first.gradient_checkpointing,
        report=observer.message,
    )
    bank = Bank(
        model,
        union,
        runs=len(configs),
        classes=objective.head_outputs,
        precision=precision,
        pooler_bias=methods[0].pooler_in_bank,
        outside_biases=any(method.outside_biases for method in methods),
        low_rank=methods[0].low_rank(model, configs) if several else None,
        reader=session.reader,
    )
    for run, config in enumerate(configs):
        bank.init_head(run, config.seed)
    information = fisher_of_runs(configs, model, bank, objective, trains, precision, observer, session.reader)
    precision.prepare(model.backbone)
    if several:
        weights = methods[0].weights_of_bank(model, bank, configs)
    else:
        weights = methods[0].weights(model, partial(_information, model, bank, objective, first, trains[0], observer))

    jobs = [
        Job(
            config,
            encoded if method.row.trains else encoded.take([]),
            {slot_name(slot) for slot in slots} | method.parts(bank),
            {} if config.train_null else start.null_parts(slots),
        )
        for config, method, encoded, slots in zip(configs, methods, trains, chosen, strict=True)
    ]
    trainer = Trainer(
        bank,
        jobs,
        evals=evals,
        metrics=inputs.metrics_of(data),
        objective=objective,
        pad=pad,
        session=session,
        weights=weights,
        checkpoint=checkpoint_for(checkpoint, configs, model, trains),
        observer=observer,
    )
    outcomes = trainer.fit()
    seconds = trainer.record.progress.seconds
    observer.stage("collect")
    after = biases(model) if first.method.changes_weights else start.biases
    return [
        Trained(
            snapshot_of(start, bank, run, job, outcome, slots, after, information[run], weights, seconds),
            outcome.failure,
            outcome.stopped,
            trainer.record.predictor.last.get(run, {}),
        )
        for run, (job, outcome, slots) in enumerate(zip(jobs, outcomes, chosen, strict=True))
    ]


def _information(
    model: LoadedModel,
    bank: Bank,
    objective: Objective,
    config: RunConfig,
    examples: Encoded,
    observer: Observer,
    parameters: Sequence[Tensor],
) -> list[Tensor]:
    """Measure the Fisher information of parameters for a run that chooses by it, in float32 under its drawn head."""
    examples = examples.take(range(min(config.fisher_examples or FISH_EXAMPLES, len(examples))))
    observer.stage("measure Fisher information", len(examples))
    exact = Bank(
        model,
        [],
        runs=1,
        classes=objective.head_outputs,
        precision=Precision("float32", bank.precision.device),
        pooler_bias=False,
    )
    for name in exact.parts:
        exact.set_value(name, bank.value(name))
    return squared_gradients(parameters, exact, examples, objective, observer)


def select(
    config: RunConfig,
    observer: Observer | None = None,
    checkpoint: Path | None = None,
    then_train: bool = False,
    *,
    evaluate: str | None = None,
    data: TaskData | None = None,
    base: inputs.Base | None = None,
) -> Selection:
    """Select a bias term by the paper's method: fine-tune all, score how far they move, take the best.

    Where the architecture lets it be measured, the probe also holds the relative output change of q, k and v.

    ``then_train``: fine-tune the selected term alone, too. The probe takes every setting of ``config`` except what it
    trains. ``evaluate``: when the probe is scored, if not when ``config`` says. ``data``, ``base``: see
    :func:`train_bank`.
    """
    observer = observer or Observer()
    settings = config.probe()
    if evaluate is not None:
        settings = dataclasses.replace(settings, evaluate=evaluate)
    probe = train(settings, observer, checkpoint, data=data, base=base)
    if not observer.should_stop():
        try:
            probe = with_output_change(probe, config, observer, data=data, base=base)
        except UserError as error:
            observer.message(f"the relative output change is not measured: {error}")
    scores = score_snapshot(probe)
    selected = scores.selected()
    trained = None
    winner = selected[PAPER]
    if then_train and winner is not None:
        alone = dataclasses.replace(config, mode=ONE_BY_ONE, terms=(winner,), fisher=False)
        trained = train(alone, observer, data=data, base=base)
    return Selection(probe, scores, selected, trained)


def check(
    probe: Snapshot,
    config: RunConfig,
    observer: Observer | None = None,
    checkpoint: Path | None = None,
    *,
    data: TaskData | None = None,
    base: inputs.Base | None = None,
) -> Verdict:
    """Check a selection: fine-tune each of b_q, b_k and b_v alone with the probe's settings, in one bank.

    ``probe``: the snapshot of the probe; ``config``: its configuration. ``checkpoint``, ``data``, ``base``: see
    :func:`train` and :func:`train_bank`.

    Raises:
        UserError: everything that a user can put right, such as a fine-tune that was stopped before it was scored.
        FloatingPointError: the loss of one was not finite.
    """
    observer = observer or Observer()
    terms = [term for term in CANDIDATES if any(key[1] == term for key in probe.keys())]  # noqa: SIM118
    if not terms:
        raise UserError("got a probe without b_q, b_k and b_v to check", "at least one of them", "--add-bias q k v")
    of_one: dict[str, Any] = {
        "mode": ONE_BY_ONE,
        "fisher": False,
        "fisher_tuned": False,
        "trajectory_every": None,
        "evaluate": "last",
    }
    configs = [dataclasses.replace(config, **of_one, terms=(term,)) for term in terms]
    if data is None:
        observer.stage("load data")
        data = inputs.load_data(configs[0].resolved())
    with held(checkpoint):
        trained = [one.sound().meta for one in train_bank(configs, observer, checkpoint, data=data, base=base)]
    metric = trained[0].metric or primary_metric(data)
    found = {
        term: value
        for term, meta in zip(terms, trained, strict=True)
        if (value := meta.final_metrics.get(metric)) is not None
    }
    if len(found) < len(terms):
        raise UserError("got fine-tunes that were stopped before they were scored", "all of them, to the end")
    examples = len(next(iter(data.limited(config.n_eval).evals.values())))
    null = [term for term in terms if term in trained[0].null_terms]
    return Verdict(metric, found, score_snapshot(probe).selected(), tuple(null), config.seed, examples)
