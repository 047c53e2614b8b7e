"""Result of a run: its snapshot, made of the bank's values, with all that is said about it."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from beft_core import __version__
from beft_core.architectures.layout import BiasSlot
from beft_core.config import SETTINGS_OF_METHODS
from beft_core.errors import UserError
from beft_core.models.biases import Biases, LoadedModel, biases
from beft_core.models.null_certificate import null_certificate, null_elements
from beft_core.snapshots.null_elements import ranges_of
from beft_core.snapshots.snapshot import Snapshot, SnapshotMeta
from beft_core.tasks.constant_answer import constant_answer
from beft_core.tasks.examples import TaskData
from beft_core.tasks.own_prompts import record_of
from beft_core.terms import TERM_KEYS
from beft_core.training.fisher.information import FisherInformation
from beft_core.training.inputs import primary_metric
from beft_core.training.job import Job, Outcome
from beft_core.training.methods.base import Weights, method_for
from beft_core.training.methods.bias_bank import Bank, is_slot, slot_name
from beft_core.training.methods.low_rank import is_factor
from beft_core.training.objectives.registry import objective_of

HYPERPARAMETERS = (
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
"""Names of the fields of a configuration that a snapshot keeps under the same names."""
LATER = ("plain", "n_eval", "hold_out", "rewrite_scale", "demonstrations", "targets", *SETTINGS_OF_METHODS)
"""Names of others, which it keeps only where they are set."""


@dataclass(frozen=True)
class Start:
    """Facts that the runs of a bank share before their first step."""

    model: LoadedModel
    data: TaskData
    null: tuple[str, ...]
    """Terms that are certified null in this model."""
    elements: Mapping[str, np.ndarray]
    """Masks of certified null elements by term: bool [width]."""
    biases: Biases
    """Biases before the first step: (stack, term) -> float32 [layers, width]."""
    parameters: int
    """Number of parameters of the model, without a head."""

    @classmethod
    def of(cls, model: LoadedModel, data: TaskData) -> Start:
        """Certify what cannot act in a model and read its biases."""
        reports = null_certificate(model)
        null = tuple(term for term, report in reports.items() if report.null)
        parameters = sum(p.numel() for p in model.backbone.parameters())
        return cls(model, data, null, null_elements(reports), biases(model), parameters)

    def null_parts(self, slots: Sequence[BiasSlot]) -> dict[str, np.ndarray]:
        """Select the certified null elements of ``slots``: part of a bank -> bool [width], where it has any."""
        return {slot_name(slot): self.elements[slot.term] for slot in slots if slot.term in self.elements}


def snapshot_of(
    start: Start,
    bank: Bank,
    run: int,
    job: Job,
    outcome: Outcome,
    slots: Sequence[BiasSlot],
    after: Biases,
    measured: FisherInformation | None,
    weights: Weights,
    seconds: float,
) -> Snapshot:
    """Build the snapshot of a run of a bank that was trained.

    ``slots``: what the run trained, read from the bank; all other biases are those of ``after``, the model's own after
    training. ``measured``: Fisher information before it. ``seconds``: wall time of the training.
    """
    post = {key: value.copy() for key, value in after.items()}
    for slot in slots:
        post[slot.stack, slot.term][slot.layer] = bank.value(slot_name(slot), run)
    steps = trajectory_of(outcome, slots, start.biases)
    if measured is not None and not job.config.train_null:
        measured = measured.without(start.elements)
    head = head_tensors(start.data.spec.name, bank, run, job.owned)
    adapter = weights.adapter({name.removeprefix(f"extra.{start.data.spec.name}."): head[name] for name in head}, run)
    meta = meta_of(start, bank, job, outcome, slots, weights, seconds)
    if adapter is not None:
        meta = dataclasses.replace(meta, provenance={**meta.provenance, "adapter": adapter.digest()})
    snapshot = Snapshot.build(
        meta,
        pre=start.biases,
        post=post,
        fisher=measured.exact if measured else {},
        fisher_batch=measured.batch if measured else {},
        steps=steps,
        trajectory_step=np.array(outcome.trajectory_steps) if steps else None,
        extra=head,
    )
    snapshot.adapter = adapter
    return snapshot


def meta_of(
    start: Start,
    bank: Bank,
    job: Job,
    outcome: Outcome,
    slots: Sequence[BiasSlot],
    weights: Weights,
    seconds: float,
) -> SnapshotMeta:
    """State what a snapshot says about its run: settings, counts, metrics, versions, device."""
    model, data = start.model, start.data
    config = job.config
    method = method_for(config)
    terms = method.changed_terms(slots, model.layout)
    counted = method.counted({slot_name(slot) for slot in slots}, job.owned)
    trained = sum(bank.parts[name].size for name in counted) + weights.count
    trained -= sum(int(mask.sum()) for mask in job.frozen.values())
    hyper: dict[str, Any] = {name: config.to_dict()[name] for name in HYPERPARAMETERS}
    hyper |= {name: value for name in LATER if (value := config.to_dict()[name]) not in (None, False)}
    if (source := config.rate_source()) is not None:
        hyper["lr_source"] = source
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
        constant_answer=constant_of(data),
        null_terms=start.null,
        null_elements={term: ranges_of(mask) for term, mask in start.elements.items() if not mask.all()},
        trained_parameters=trained,
        total_parameters=start.parameters,
        versions=software_versions(),
        device=device_name(bank.precision.device),
        wall_seconds=round(seconds, 3) if config.record_wall_seconds else None,
        heads={spec.name: {**objective_of(spec).head(), "inputs": config.inputs, **record_of(spec)}},
        provenance={"data": data.source} if config.train_file is None else {"data": "the user's own table"},
    )


def constant_of(data: TaskData) -> dict[str, Any] | None:
    """Record what the best constant answer gets by the metric that counts; None without validation examples."""
    examples = next(iter(data.evals.values()), None)
    if not examples:
        return None
    value = constant_answer(np.asarray(examples.labels), data.spec.metrics[0], examples.golds)
    return {"value": value, "examples": len(examples)}


def head_tensors(task: str, bank: Bank, run: int, owned: set[str]) -> dict[str, np.ndarray]:
    """Collect what a snapshot keeps besides the bias terms, so that the run can be evaluated again.

    ``owned``: the parts of the bank that the run trains; factors of an adapter are left out, which has a folder of its
    own. Returns name in the file -> float32; the biases outside of the layers are joined into one.
    """
    kept = (name for name in bank.parts if name in owned and not is_slot(name) and not is_factor(name))
    values = {name: bank.value(name, run) for name in kept}
    outside = [values.pop(name) for name in list(values) if name.startswith("outside.")]
    if outside:
        values["outside.bias"] = np.concatenate(outside)
    return {f"extra.{task}.{name}": value for name, value in values.items()}


def put_head(values: Mapping[str, np.ndarray], bank: Bank, run: int = 0) -> None:
    """Put what :func:`head_tensors` collected (names without their prefix) into one run of a bank.

    Raises:
        UserError: tensors that do not fit the model.
    """
    for name, value in head_parts(values, bank).items():
        bank.set_value(name, value, run)


def head_parts(values: Mapping[str, np.ndarray], bank: Bank) -> dict[str, np.ndarray]:
    """Give what :func:`head_tensors` collected (names without their prefix) by the parts of a bank: name of the part ->
    float32 of its shape.

    Raises:
        UserError: tensors that do not fit the model.
    """
    values = dict(values)
    outside = [name for name in bank.parts if name.startswith("outside.")]
    joined = values.pop("outside.bias", None)
    if joined is not None:
        sizes = [bank.parts[name].size for name in outside]
        if joined.shape != (sum(sizes),):
            raise UserError(f"got {joined.size} biases outside of the layers", f"{sum(sizes)}, as this model has")
        values |= dict(zip(outside, np.split(joined, np.cumsum(sizes[:-1])), strict=True))
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
    return values


def trajectory_of(
    outcome: Outcome, slots: Sequence[BiasSlot], before: Mapping[tuple[str, str], np.ndarray]
) -> dict[tuple[str, str], np.ndarray]:
    """Put the followed values of a run together: (stack, term) -> [checkpoints, layers, width].

    Layers that were not trained keep their value of ``before``.
    """
    count = len(outcome.trajectory_steps)
    steps: dict[tuple[str, str], np.ndarray] = {}
    for slot in slots:
        values = outcome.trajectory.get(slot_name(slot))
        if values is not None:
            key = slot.stack, slot.term
            steps.setdefault(key, np.repeat(before[key][None], count, axis=0))[:, slot.layer] = values
    return steps


def software_versions() -> dict[str, str]:
    """Read the versions of what computes a result: package -> version."""
    libraries = {name: version(name) for name in ("torch", "transformers", "numpy")}
    return {"beft-lab": __version__, "python": platform.python_version(), **libraries}


def device_name(device: torch.device) -> str:
    """Name a device in words: the GPU's own name, else its type."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
