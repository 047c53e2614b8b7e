"""Measuring a dial: model and data are loaded once, every factor and every part switched off is read in one pass over
the validation set (:mod:`beft_core.inference.by_depth`), and the intervals come from the same examples.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import numpy as np

from beft_core.config import RunConfig
from beft_core.dials import causal
from beft_core.dials.bootstrap import RESAMPLES, interval, resampled, resampled_means
from beft_core.dials.config import DialConfig
from beft_core.dials.parts import ALL, Part, moved, turned
from beft_core.dials.result import Curve, Dial, Off
from beft_core.errors import UserError
from beft_core.inference.by_depth import logits_by_depth
from beft_core.inference.text.written import written_by
from beft_core.inference.variants import Variant
from beft_core.merging.config import content, recorded
from beft_core.models.biases import LoadedModel
from beft_core.snapshots.changed_weights import refuse_changed_weights
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.answer_metrics import ANSWER_METRICS
from beft_core.tasks.examples import TaskData
from beft_core.tasks.metrics import METRICS
from beft_core.tasks.resamples import numbered
from beft_core.tasks.sources.user_files import scored_from
from beft_core.training import inputs
from beft_core.training.batches.encoded import Encoded
from beft_core.training.evaluate import load_base
from beft_core.training.objectives.base import Objective
from beft_core.training.objectives.registry import objective_of
from beft_core.training.observer import Observer
from beft_core.training.precision import Precision, pick_device
from beft_core.training.preconditions import head_of, inputs_of, outputs_of, require_suited
from beft_core.training.result import device_name, software_versions

MAX_VARIANTS = 4000
"""Most sets of biases of one dial."""


def measure(
    snapshot: Snapshot,
    config: DialConfig,
    observer: Observer | None = None,
    *,
    data: TaskData | None = None,
    base: inputs.Base | None = None,
) -> Dial:
    """Turn a fine-tune through every factor of ``config``, whole, by layer and by term, and switch every part off.

    The head is that of the fine-tune throughout, and with it the pooler's bias and the biases outside of the layers.
    A prompted task has no head; one of free text is written anew for each set of biases, and a layer only switched off.
    The metric is the task's first, on its first validation set. ``data``: what is scored instead of the task that
    ``config`` names; ``base``: the model, where it is in memory already.

    Raises:
        UserError: as :func:`beft_core.training.evaluate.evaluate`, or outputs that are not finite as trained.
    """
    observer = observer or Observer()
    began = time.monotonic()
    refuse_changed_weights(snapshot)
    tensors = snapshot.tensors()  # of a file each would be read again for every variant
    snapshot = Snapshot(snapshot.meta, {name: x.shape for name, x in tensors.items()}, tensors.__getitem__)
    head = head_of(snapshot, config.task)
    what = turned(snapshot)
    observer.stage("load data")
    run, data = _loaded(snapshot, config, data)
    require_suited(snapshot, data.spec)
    name, examples = next(iter(data.evals.items()))
    available = len(examples)
    examples = data.limited(config.limit).evals[name]
    metric = data.spec.metrics[0]

    observer.stage("load model")
    model = load_base(snapshot, run, base)
    precision = Precision(run.precision, pick_device(run.device))
    precision.prepare(model.backbone.to(precision.device))
    objective = objective_of(data.spec)
    if (outputs := outputs_of(head)) != objective.head_outputs:
        raise UserError(f"got a head with {outputs} outputs for {config.task}", f"one with {objective.head_outputs}")
    observer.stage("tokenise", len(examples))
    encoded = objective.encode(model, examples, run.max_length, observer)

    # Text is written one token after the other, which nothing shares: each layer is only switched off.
    turning = tuple(part for part in what.whole if encoded.writing is None or part.layer is None)
    asked = [(ALL, 1.0), *((part, factor) for part in turning for factor in config.lambdas)]
    asked += [(part, 0.0) for part in (*what.whole, *what.cells) if part not in turning]
    variants, number_of = _distinct(snapshot, config.task, asked)
    observer.stage("evaluate", len(variants) * len(encoded))
    groups = None if examples.groups is None else numbered(np.asarray(examples.groups))
    scored = _scored(model, variants, encoded, objective, metric, precision, observer, groups)
    of = {place: scored[number] for place, number in number_of.items()}
    losses = {part: scored[0] - of[part, 0.0] for part in (*what.whole, *what.cells)}
    low, high = interval(scored[:1, 1:])
    return Dial(
        source=content(snapshot),
        terms=tuple(moved(snapshot)),
        task=config.task,
        metric=metric,
        examples=len(encoded),
        available=available,
        data=data.source,
        trained=float(scored[0, 0]),
        trained_low=_number(low[0]),
        trained_high=_number(high[0]),
        lambdas=config.lambdas,
        curves=tuple(_curve(part, config.lambdas, of, scored[0]) for part in turning),
        off=tuple(_off(part, of[part, 0.0], scored[0]) for part in (*what.whole, *what.cells) if part != ALL),
        tests=causal.tests(snapshot, what, {part: loss for part, loss in losses.items() if math.isfinite(loss[0])}),
        variants=len(variants),
        resamples=RESAMPLES,
        seconds=round(time.monotonic() - began, 3),
        device=device_name(precision.device),
        versions=software_versions(),
    )


def _scored(
    model: LoadedModel,
    variants: Sequence[Variant],
    encoded: Encoded,
    objective: Objective,
    metric: str,
    precision: Precision,
    observer: Observer,
    groups: np.ndarray | None,
) -> np.ndarray:
    """Score every variant on the examples and on resamples of them: float64 [variants, 1 + resamples].

    ``groups``: number of the text that each example is about [examples]; those are drawn together.
    NaN of a variant whose outputs are not finite. Raises UserError where they are not from the first.
    """
    source = encoded.source
    if encoded.writing is not None:
        assert source is not None and source.answers is not None, "examples without right texts"
        texts = written_by(model, variants, encoded, precision=precision, advance=observer.advance)
        observer.stage("intervals")
        score = ANSWER_METRICS[metric]
        per_example = np.array(
            [
                [score([one], [right]) for one, right in zip(of_variant, source.answers, strict=True)]
                for of_variant in texts
            ]
        )
        return _means(per_example, groups)
    logits = logits_by_depth(model, variants, encoded, precision=precision, advance=observer.advance)
    finite = np.isfinite(logits).all(axis=(1, 2))
    if not finite[0]:
        raise UserError("got outputs that are not finite from the fine-tune as it was trained", "finite numbers")
    predicted = np.stack(
        [objective.predict(one) if ok else np.zeros(len(encoded)) for one, ok in zip(logits, finite, strict=True)]
    )
    observer.stage("intervals")
    if metric == "accuracy" and source is not None and source.golds is not None:  # several may be right
        right = [[one in golds for one, golds in zip(of, source.golds, strict=True)] for of in predicted]
        scored = _means(np.array(right, np.float64), groups)
    else:
        values = [
            METRICS[metric](one, encoded.labels) if ok else math.nan for one, ok in zip(predicted, finite, strict=True)
        ]
        drawn = resampled(metric, predicted, encoded.labels, groups=groups)
        scored = np.concatenate([np.array(values)[:, None], drawn], axis=1)
    scored[~finite] = math.nan
    return scored


def _means(per_example: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Average scores [variants, examples] over the examples and over each resample: [variants, 1 + resamples]."""
    drawn = resampled_means(per_example, groups=groups)
    return np.concatenate([per_example.mean(axis=1, keepdims=True), drawn], axis=1)


def _loaded(snapshot: Snapshot, config: DialConfig, data: TaskData | None) -> tuple[RunConfig, TaskData]:
    """Make the configuration of a run that scores the snapshot, and load what is scored."""
    given = {
        name: getattr(config, name)
        for name in ("model", "data_dir", "max_length", "device", "precision")
        if getattr(config, name) is not None
    }
    fields = recorded([snapshot], config.task) | given
    if data is not None:
        return RunConfig(**fields), data
    if config.table is not None:
        return RunConfig(**fields), scored_from(config.table, config.task, snapshot.meta.heads[config.task])
    run = RunConfig(**fields, task=config.task, inputs=inputs_of(snapshot, config.task))
    return run, inputs.load_data(run)


Place = tuple[Part, float]
"""Part, and the factor that it is turned to."""


def _distinct(snapshot: Snapshot, task: str, asked: Sequence[Place]) -> tuple[list[Variant], dict[Place, int]]:
    """Find the different sets of biases among what is asked for: every part at factor 1 is the fine-tune itself.

    Raises:
        UserError: very many.
    """
    variants: list[Variant] = []
    known: dict[bytes, int] = {}
    number_of: dict[Place, int] = {}
    for part, factor in asked:
        variant = Variant(snapshot, task, part.factors(snapshot, factor))
        key = b"".join(variant.values(one).tobytes() for one in snapshot.keys())  # noqa: SIM118
        number_of[part, factor] = known.setdefault(key, len(variants))
        if known[key] == len(variants):
            variants.append(variant)
        if len(variants) > MAX_VARIANTS:
            raise UserError(f"got more than {MAX_VARIANTS} sets of biases", "fewer values of λ")
    return variants, number_of


def _curve(part: Part, lambdas: Sequence[float], of: Mapping[Place, np.ndarray], trained: np.ndarray) -> Curve:
    scored = np.stack([of[part, factor] for factor in lambdas])
    low, high = interval((scored - trained)[:, 1:])
    return Curve(part, _numbers(scored[:, 0]), _numbers(low), _numbers(high))


def _off(part: Part, without: np.ndarray, trained: np.ndarray) -> Off:
    loss = trained - without
    low, high = interval(loss[None, 1:])
    return Off(part, _number(without[0]), _number(loss[0]), _number(low[0]), _number(high[0]))


def _number(value: float | np.floating) -> float | None:
    return float(value) if math.isfinite(value) else None


def _numbers(values: np.ndarray) -> tuple[float | None, ...]:
    return tuple(map(_number, values))
