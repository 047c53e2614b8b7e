"""Evaluation of a snapshot or a merge on its base model: scored on a task's validation sets under the head that it
keeps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel, write_biases
from beft_core.models.placement import Placement, is_spread
from beft_core.snapshots.changed_weights import refuse_changed_weights
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.examples import Examples, TaskData
from beft_core.tasks.registry import get_task
from beft_core.training import inputs
from beft_core.training.acceleration.session import session_for
from beft_core.training.methods.adapters import AdapterWeights
from beft_core.training.methods.base import Weights
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.objectives.registry import objective_of
from beft_core.training.observer import Observer
from beft_core.training.precision import Precision, pick_device
from beft_core.training.preconditions import head_of, inputs_of, require_suited
from beft_core.training.predict import Predictor
from beft_core.training.result import put_head


def evaluate(
    snapshot: Snapshot,
    config: RunConfig,
    *,
    biases: str = "post",
    observer: Observer | None = None,
    data: TaskData | None = None,
    base: inputs.Base | None = None,
) -> dict[str, float]:
    """Put a snapshot (or a merge) back on its base model and score it on the task of ``config``.

    ``biases``: ``post`` or ``pre`` (the base model under the snapshot's head). The snapshot must hold a head for the
    task. ``config`` names the model only where the snapshot's own cannot be found under its id. ``data``: what is
    scored instead of the task of ``config``, such as that of :func:`beft_core.tasks.own_table.scored_task`. ``base``:
    the model, where it is in memory already.

    An adapter that the snapshot has in memory (:func:`beft_core.training.preconditions.with_adapter`) is put into the
    model too.

    Raises UserError when the base model differs, the task has no head or other labels, or weights were trained too.
    """
    observer = observer or Observer()
    if snapshot.adapter is None:
        refuse_changed_weights(snapshot)
    if data is None:
        observer.stage("load data")
        task = get_task(config.task).name if config.train_file is None else ""
        if task:
            head_of(snapshot, task)  # that it is missing is told before data is looked for
        data = inputs.load_data(dataclasses.replace(config, inputs=inputs_of(snapshot, task)))
    else:
        data = inputs.validated(config, data)
    head = head_of(snapshot, data.spec.name)
    require_suited(snapshot, data.spec)
    observer.stage("load model")
    model = load_base(snapshot, config, base, inputs.placement_for([config]))
    get = snapshot.post if biases == "post" else snapshot.pre
    write_biases(model, {key: get(*key) for key in snapshot.keys()})  # noqa: SIM118
    examples = sum(map(len, data.evals.values()))
    observer.stage("tokenise", examples)
    precision = Precision(config.precision, pick_device(config.device))
    if not is_spread(model.backbone):
        model.backbone.to(precision.device)
    precision.prepare(model.backbone)
    adapter = (
        None if snapshot.adapter is None or biases == "pre" else AdapterWeights.of(snapshot, model, config.max_length)
    )
    score = scorer(model, head, data, data.evals, config.max_length, precision, observer, adapter=adapter)
    observer.stage("evaluate", examples)
    return score()


def load_base(
    snapshot: Snapshot, config: RunConfig, base: inputs.Base | None = None, placement: Placement | None = None
) -> LoadedModel:
    """Load the model of ``config``, or take it from ``base``, as the base of a snapshot.

    ``placement``: see :func:`beft_core.training.inputs.load`.

    Raises:
        UserError: it is not the model that the snapshot started from.
    """
    model = inputs.load(config, base, placement)
    if not model.info.shares_base(snapshot.meta.model):
        named = config.model if base is None else model.id
        raise UserError(
            f"got the base model {named}, whose {model.info.told_by} differ from those the snapshot started from",
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
    kept: dict[str, np.ndarray] | None = None,
    adapter: Weights | None = None,
) -> Callable[[], dict[str, float]]:
    """Prepare the scoring of a model under a task's head; validation sets are tokenised once.

    ``head``: part of a bank -> values, as :func:`head_of` reads them. ``kept``: receives the logits of each set,
    float32 [examples, outputs]. ``adapter``: one that was put into the model, which acts while it is scored. Returns a
    function without arguments that scores the model as its bias terms are when it is called: metric -> value.

    Raises:
        UserError: the head does not fit the model.
    """
    objective = objective_of(data.spec)
    evals = {name: objective.encode(model, part, max_length, observer) for name, part in examples.items()}
    session = session_for(model, precision, plain=objective.head_outputs is None or adapter is not None)
    weights = adapter or Weights()
    bank = Bank(
        model,
        [],
        runs=1,
        classes=objective.head_outputs,
        precision=precision,
        outside_biases="outside.bias" in head,
        reader=session.reader,
    )
    put_head(head, bank)
    predictor = Predictor(bank, evals, inputs.metrics_of(data), session, observer.advance)

    def score() -> dict[str, float]:
        with bank.installed(), weights.installed():
            metrics = predictor.evaluate()
        if kept is not None:
            kept.update(predictor.last[0])
        return metrics

    return score
