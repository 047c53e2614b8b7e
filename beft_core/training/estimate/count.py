"""Counts of a fine-tune before it starts: its parameters, examples, steps and checkpoints, without PyTorch.

A configuration and the headers of the model's files are enough. How long it will take is measured by
:mod:`beft_core.training.estimate.measure`, which :func:`answer` runs in a process that may import PyTorch.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beft_core.adapter_methods import Wrapped
from beft_core.architectures.layout import Layout
from beft_core.architectures.targets import target_slots
from beft_core.config import RunConfig
from beft_core.models.bias_reader import ModelWeights
from beft_core.models.source import locate
from beft_core.tasks.registry import get_task
from beft_core.tasks.sources import official
from beft_core.tasks.sources.demo import TRAIN_SIZE
from beft_core.tasks.sources.user_files import OwnTable
from beft_core.training.preconditions import require_biases, require_targets, wanted_terms

CHECKPOINTS = 30
"""Number of checkpoints of a trajectory: enough to be played smoothly, few enough to stay small."""
SEVERAL_A_LINE = ("MultiRC", "ReCoRD")
"""Folders of tasks whose files have several examples in a line."""

_TIMED_IMPORT = (
    "import time; t = time.perf_counter(); import beft_core.training.workflow; print(time.perf_counter() - t)"
)


@dataclass(frozen=True)
class ParameterCount:
    """Number of parameters of a fine-tune, counted as the paper does (Table 2): without the head."""

    trainable: int
    total: int
    """Number of parameters of the backbone."""
    frozen: tuple[str, ...] = ()
    """Terms that were asked for and stay frozen, because by the architecture's rule they can change nothing."""

    @property
    def percentage(self) -> float:
        return 100 * self.trainable / self.total if self.total else 0.0


def layout_of(model: str) -> Layout:
    """Find the biases of a model on this machine. Raises UserError as ``locate`` does; never downloads."""
    return locate(model, local_only=True).layout


def count_weights(model: str) -> int:
    """Count the parameters of a model's backbone, from the headers of its files. Raises UserError as ``locate`` does;
    never downloads.
    """
    source = locate(model, local_only=True)
    return sum(_sizes(source.folder, source.layout.prefix).values())


def count_parameters(config: RunConfig) -> ParameterCount:
    """Count trained and all parameters, from the configuration and the headers of the model's files.

    Raises:
        UserError: no such model on this machine, terms or layers that it does not have, or no bias term where the run
            needs one.
    """
    source = locate(config.model, local_only=True)
    layout = source.layout.with_added(config.add_bias)
    require_targets(config, layout)
    require_biases(config, layout)
    sizes = _sizes(source.folder, layout.prefix)
    total = sum(sizes.values())
    method = config.method
    if method.adapter is not None:
        return ParameterCount(_of_adapter(config, layout, source.folder), total)
    if not method.trains_terms:
        return ParameterCount(method.counts(layout, total), total)
    wanted = wanted_terms(config, layout)
    frozen = () if config.train_null else tuple(term for term in wanted if term in layout.null_terms)
    trained = sum(
        slot.width if config.train_null else int((~layout.null_elements(slot.term)).sum())
        for slot in layout.slots
        if slot.term in wanted and slot.term not in frozen and (config.layers is None or slot.layer in config.layers)
    )
    if method.every_bias:
        inside = {name.removeprefix(f"{layout.prefix}.") for s in layout.slots for name in layout.checkpoint_names(s)}
        trained += sum(size for name, size in sizes.items() if name.endswith((".bias", ".beta")) and name not in inside)
    return ParameterCount(trained, total, frozen)


def _of_adapter(config: RunConfig, layout: Layout, folder: Path) -> int:
    """Count the values of an adapter, by the shapes of the weights that it wraps."""
    adapter = config.method.adapter
    assert adapter is not None
    config = config.resolved(layout)
    wrapped = []
    if adapter.wraps:
        shapes = ModelWeights(folder).shapes()
        for slot in target_slots(layout, config.targets or (), config.layers, config.mode):
            biases = layout.checkpoint_names(slot)
            names = [f"{name.removesuffix('.bias')}.weight" for name in biases]
            names += [f"{name.removesuffix('.beta')}.gamma" for name in biases]
            shape = next(shapes[name] for name in names if name in shapes)
            outputs, inputs = (shape[0], 0) if adapter.norms else shape[::-1] if layout.inputs_first else shape
            wrapped.append(Wrapped(slot.term, outputs, inputs))
    return adapter.count(wrapped, config, layout)


def _sizes(folder: Path, prefix: str) -> dict[str, int]:
    """Number of elements of each parameter of the backbone; the heads that a checkpoint may hold are left out."""
    shapes = ModelWeights(folder).shapes()
    start = f"{prefix}."
    inside = {name.removeprefix(start): shape for name, shape in shapes.items() if prefix and name.startswith(start)}
    return {name: math.prod(shape) for name, shape in (inside or shapes).items()}


def count_examples(config: RunConfig, rows: int | None = None) -> int | None:
    """Count the training examples of a resolved configuration, without those that it sets aside; None where only the
    Hub knows.

    ``rows``: training examples of the user's own table, where they are known; else it is read.

    Raises:
        UserError: what is wrong with that table.
    """
    if not config.method.trains:
        return 0
    if config.n_train is not None:
        return config.n_train
    there = _rows_there(config, rows)
    return None if there is None else there - (config.hold_out or 0)


def _rows_there(config: RunConfig, rows: int | None) -> int | None:
    """Count the training examples that a task has; see :func:`count_examples`."""
    if config.train_file is not None:
        return rows if rows is not None or config.table is None else _rows_of(config.table.pinned())
    spec = get_task(config.task)
    if spec.source == "demo":
        return TRAIN_SIZE
    folder = official.find_folder(spec, config.data_dir)
    if folder is None or not folder.is_dir() or spec.folder in SEVERAL_A_LINE:
        return None
    file = next((path for path in sorted(folder.glob("train.*")) if path.suffix in (".tsv", ".jsonl")), None)
    if file is None:
        return None
    header = file.suffix == ".tsv" and spec.columns is None
    with file.open("rb") as lines:
        return sum(1 for _ in lines) - header


@functools.lru_cache(maxsize=16)
def _rows_of(table: OwnTable) -> int:
    """Count the training examples of a table that is bound to its content."""
    return len(table.load().train)


def count_steps(config: RunConfig, train_examples: int | None) -> int | None:
    """Count the optimizer steps of a resolved configuration; None where examples or epochs are not known yet."""
    if not config.method.trains:
        return 0
    if train_examples is None or config.epochs is None:
        return None
    return config.epochs * math.ceil(train_examples / config.batch_size)


def steps_between_checkpoints(total_steps: int, checkpoints: int = CHECKPOINTS) -> int:
    """Choose how many steps lie between two checkpoints of a trajectory."""
    return max(1, round(total_steps / checkpoints))


def judge_estimate(estimated: float, took: float) -> str:
    """Say in words how good an estimate of seconds was."""
    if took <= 0:
        return ""
    off = estimated / took - 1
    if abs(off) < 0.1:
        return "right within a tenth"
    return f"{abs(off):.0%} too {'long' if off > 0 else 'short'}"


def answer(config: dict[str, Any]) -> dict[str, Any]:
    """Answer the model service: :func:`beft_core.training.estimate.measure.estimate` of a configuration, as JSON.

    Raises:
        UserError: the configuration, its model or its data are wrong.
    """
    record = RunConfig.from_dict(config)
    record.resolved()
    locate(record.model)  # a name that leads nowhere is reported before PyTorch takes its seconds
    start = _start_seconds()
    from beft_core.training.estimate.measure import estimate

    measured = estimate(record, start)
    return {key: _plain(value) for key, value in dataclasses.asdict(measured).items()}


@functools.cache
def _start_seconds() -> float:
    """Seconds that importing PyTorch costs a new process: seen here, or, where something else imported it,
    tried once.
    """
    if "torch" in sys.modules:
        tried = subprocess.run(
            [sys.executable, "-c", _TIMED_IMPORT],
            capture_output=True,
            check=True,
            text=True,
        )
        return float(tried.stdout)
    now = time.perf_counter()
    import beft_core.training.workflow  # noqa: F401

    return time.perf_counter() - now


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
