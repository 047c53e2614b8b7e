"""Fisher information at the fine-tuned models of snapshots: with the fine-tune, or later, where a file lacks it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from beft_core.architectures.certified import certified
from beft_core.config import RunConfig, table_fields
from beft_core.errors import UserError
from beft_core.merging.config import recorded
from beft_core.merging.merge import has_tuned_fisher
from beft_core.models.biases import LoadedModel, restored, write_biases
from beft_core.models.placement import is_spread
from beft_core.models.source import BUNDLED
from beft_core.snapshots.changed_weights import refuse_changed_weights
from beft_core.snapshots.null_elements import mask_of
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.examples import TaskData
from beft_core.tasks.registry import TASKS
from beft_core.tasks.sources.user_files import OwnTable
from beft_core.training import inputs
from beft_core.training.acceleration.session import session_for
from beft_core.training.batches.encoded import Encoded
from beft_core.training.evaluate import load_base
from beft_core.training.fisher.tuned import tuned_fisher
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.objectives.registry import objective_of
from beft_core.training.observer import Observer
from beft_core.training.precision import Precision, pick_device
from beft_core.training.preconditions import head_of, inputs_of
from beft_core.training.result import put_head


def measure_tuned_fisher(
    snapshot: Snapshot,
    model: LoadedModel,
    data: TaskData,
    examples: Encoded,
    config: RunConfig,
    observer: Observer | None = None,
) -> Snapshot:
    """Measure the Fisher information of a snapshot's trained terms at the fine-tuned model, over ``examples``.

    ``model``: the snapshot's base, as loaded; it is the same afterwards. Only the first ``config.fisher_examples``
    examples count, if that is given. Returns the snapshot with it; it is 0 in layers that were not trained
    and in null elements.

    Raises:
        UserError: the snapshot trained no bias term, or weights too, or has no head for the task.
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
    passes = len(objective.expectations(examples.most_candidates or objective.outputs))
    observer.stage("measure Fisher information of the tuned model", passes * len(examples))
    exact = Precision("float32", pick_device(config.device))
    if not is_spread(model.backbone):
        model.backbone.to(exact.device)
    with restored(model):
        write_biases(model, {key: snapshot.post(*key) for key in snapshot.keys()})  # noqa: SIM118
        bank = Bank(model, [], runs=1, classes=objective.head_outputs, precision=exact, outside_biases=True)
        put_head(head, bank)
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
    snapshots: Sequence[Snapshot],
    config: RunConfig | None = None,
    observer: Observer | None = None,
    tables: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> list[Snapshot]:
    """Complete snapshots with the Fisher information at their fine-tuned models: it is measured where it is missing.

    That takes the base model and the task's data, of which the same training examples are drawn. ``config`` says where
    they are and where to compute, ``tables`` which tables of the user's own were trained on (task -> fields of an
    ``OwnTable``).

    Raises:
        UserError: one of them cannot be had.
    """
    observer = observer or Observer()
    return [
        one if has_tuned_fisher(one) else _tuned(one, config or RunConfig(), observer, tables.get(one.meta.task, {}))
        for one in snapshots
    ]


def _tuned(snapshot: Snapshot, config: RunConfig, observer: Observer, table: Mapping[str, Any]) -> Snapshot:
    meta = snapshot.meta
    try:
        if meta.task not in TASKS and "train_file" not in table:
            raise UserError(
                f"got {meta.task}, a table of your own that no run's folder beside the snapshot records",
                "the rows that it was trained on",
            )
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
            hold_out=hyper["hold_out"] if type(hyper.get("hold_out")) is int else None,
            train_null=hyper.get("train_null") is True,
            sampler=hyper["sampler"] if isinstance(hyper.get("sampler"), str) else None,
            inputs=inputs_of(snapshot, meta.task),
            **(table_fields(OwnTable.from_dict({**table, "name": meta.task})) if "train_file" in table else {}),
        )
        observer.stage("load data")
        data = inputs.load_data(run)
        drawn = inputs.sample(run, data.train)
        observer.stage("load model")
        model = load_base(snapshot, run, placement=inputs.placement_for([run], exact=True))
        observer.stage("tokenise", len(drawn))
        encoded = objective_of(data.spec).encode(model, drawn, run.max_length, observer, training=True)
        return measure_tuned_fisher(snapshot, model, data, encoded, run, observer)
    except UserError as error:
        raise UserError(
            f"{snapshot.source} has no Fisher information at the fine-tuned model, and it cannot be measured here:"
            f" {error.got}",
            error.expected,
            "that, beft train --fisher-tuned, or another method",
        ) from None
