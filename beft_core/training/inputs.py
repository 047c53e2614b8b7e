"""Inputs of a fine-tune: its task, its base model, the examples that it draws, and the metrics that judge it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.models import biases
from beft_core.models import load as models
from beft_core.models.biases import LoadedModel
from beft_core.models.placement import Placement
from beft_core.scores.rewriting import Rewriting
from beft_core.tasks.examples import Examples, TaskData, draw, subsample
from beft_core.tasks.prompts.demonstrations import demonstrated
from beft_core.training.batches.encoded import Encoded
from beft_core.training.objectives.base import Metrics, Outputs
from beft_core.training.objectives.registry import objective_of
from beft_core.training.precision import pick_device
from beft_core.training.preconditions import read_data
from beft_core.training.rewriting import rewrite_model


def load_data(config: RunConfig) -> TaskData:
    """Load the task of a run, one of the registry or the user's own files, with the validation examples that it wants.

    Raises:
        UserError: no such task or file, or one that cannot be read as it should.
    """
    return _asked(config, read_data(config))


def validated(config: RunConfig, data: TaskData) -> TaskData:
    """Keep of a whole task the validation examples that a run wants, with its demonstrations before each prompt.

    Raises:
        UserError: demonstrations for a task without prompts, or more than there are training examples; too few of these
            to set some aside.
    """
    return _asked(config, data.held_out(config.hold_out))


def _asked(config: RunConfig, data: TaskData) -> TaskData:
    return demonstrated(data.limited(config.n_eval), config.demonstrations)


Base = Callable[[], LoadedModel]
"""Gives a base model that may be changed: a new one each time."""


def load(config: RunConfig, base: Base | None = None, placement: Placement | None = None) -> LoadedModel:
    """Load the base model of a run, or take it from ``base``, rewrite it and add the zero biases, as the run asks for.

    ``placement``: where a language model is read to (see :func:`placement_for`); None: into main memory, in float32.

    Raises:
        UserError: no such model, one without a tokenizer, one that cannot be rewritten, or a bias that cannot be added.
    """
    model = models.load_model(config.model, placement=placement) if base is None else base()
    if config.rewrite_scale is not None:
        rewrite_model(model, Rewriting(scale=config.rewrite_scale))
    for term in config.add_bias:
        biases.add_zero_bias(model, term)
    if model.tokenizer is None:
        raise UserError(f"got {config.model}, which has no tokenizer", "a language model, because the tasks are texts")
    return model


def placement_for(configs: Sequence[RunConfig], exact: bool = False) -> Placement | None:
    """Choose where the base model of a bank is read to: straight to a GPU, as the runs compute with it.

    ``exact``: in float32 whatever they compute with, for what is measured beside the fine-tune. None where its float32
    weights are wanted in main memory first: on a CPU, or because they are rewritten or trained.
    """
    first = configs[0]
    device = pick_device(first.device)
    if device.type != "cuda" or first.method.changes_weights or first.rewrite_scale is not None:
        return None
    exact = exact or any(config.fisher for config in configs)  # measured in float32, before weights are rounded
    return Placement(device, bfloat16=first.precision == "bfloat16" and not exact)


def sample(config: RunConfig, train: Examples) -> Examples:
    """Draw the training examples of a resolved configuration; none where nothing is trained.

    Raises:
        UserError: there are fewer than it asks for.
    """
    return subsample(train, *drawn(config))


def draw_of(config: RunConfig, train: Examples) -> np.ndarray:
    """Draw the positions of the examples of :func:`sample`, int64 [examples]. Raises as that does."""
    return draw(train, *drawn(config))


Drawn = tuple[int | None, int, str]
"""Key of the training examples of a run: (number, seed, sampler)."""


def drawn(config: RunConfig) -> Drawn:
    """Name what the training examples of a run depend on: runs that agree in it share their examples."""
    return config.n_train if config.method.trains else 0, config.seed, config.sampler or "generator"


def metrics_of(data: TaskData) -> dict[str, Metrics]:
    """Make the task's metrics for each validation set: name of the set -> (outputs, examples) -> metric -> value.

    With several sets, as MNLI has, the name of a set is appended to the names of its metrics.
    """

    objective = objective_of(data.spec)

    def compute(suffix: str, outputs: Outputs, examples: Encoded) -> dict[str, float]:
        values = objective.judge(data.spec.metrics, outputs, examples)
        return {f"{name}{suffix}": value for name, value in values.items()}

    many = len(data.evals) > 1
    return {name: partial(compute, f"_{name}" if many else "") for name in data.evals}


def primary_metric(data: TaskData) -> str:
    """Name the metric that counts, as :func:`metrics_of` names it: the task's first, on its first validation set."""
    many = len(data.evals) > 1
    return data.spec.metrics[0] + (f"_{next(iter(data.evals))}" if many else "")
